//! `leadline fault`.

use crate::Global;
use crate::exit::{Code, Done, Failure};
use crate::output::{self, Format};
use leadline_domain::FaultCode;
use serde_json::json;

pub(crate) fn run(g: &Global, code: Option<&str>) -> Done {
    match code {
        Some(code) => {
            let code = FaultCode::parse(code)
                .ok_or_else(|| Failure::command(format!("there is no fault {code}; `leadline fault` lists all")))?;
            match g.output {
                Format::Json => output::json(&row(code, Some(code.page()))),
                Format::Text => output::raw(code.page().as_bytes()),
            }
        }
        None if g.output == Format::Json => FaultCode::ALL.iter().for_each(|c| output::json(&row(*c, None))),
        None => {
            let rows: Vec<_> = FaultCode::ALL.iter().map(|c| vec![c.to_string(), c.sentence()]).collect();
            output::table(&["CODE", "MEANING"], &rows);
        }
    }
    Ok(Code::Ok)
}

fn row(code: FaultCode, page: Option<&str>) -> serde_json::Value {
    json!({"code": code, "class": code.class(), "meaning": code.sentence(), "page": page})
}
