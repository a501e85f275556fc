//! Messages that HL7 publishes itself, sent as they are. The examples of the standard's chapters are elided ("|...") and are
//! no messages; these are of HL7's own work on mapping v2 to FHIR, which holds whole ones:
//! github.com/HL7/v2-to-fhir, archive/src/test/resources/v2 and archive/target/test-classes/v2, as of 2021. Their people are
//! made up.

use leadline_domain::OrgId;
use leadline_ehr::mllp::frame;
use leadline_gateway::hl7::{Receiver, Senders};
use leadline_gateway::intake_fake::FakeIntake;
use leadline_gateway::mllp::{Limits, Listen, Server};
use leadline_gateway::pointers::Web;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// MDM/T02-plain-text-with-line-breaks-v2.3.1.txt
const MDM_T02: &str = r"MSH|^~\&|SendFac|SendApp|EXTERNAL APP|EXTERNAL FAC|201902021310|319|MDM^T02|42|P|2.3.1||
EVN|T02|201902021310|||543453^WILLIAMS^LINDSAY^^^^^^NPI^L^^^NPI
PID|1||117513^^^West^MR||Patrick^Michelle^ANNE^^^||19810518|F|||120 WOODSY ANIMAL LANE^^MIDDLETON^WI^53700^USA||(608)222-2222|(608)777-7777
PV1|1|O|||||543453^WILLIAMS^LINDSAY^^^^^^NPI^L^^^NPI ||||||||||||17872
TXA|1|OV^Outpatient Visit Note|TX|201902021000|543453^WILLIAMS^LINDSAY^^^^^^NPI^L^^^NPI|201902021315|||543453^WILLIAMS^LINDSAY^^^^^^NPI^L^^^NPI|||OV17872|||||AU||AV|||543453^WILLIAMS^LINDSAY ^^^^^^PRN^^^^^^201902021420|
OBX|1|TX|1006^History: Family|6|Family History~~ Problem Relation Age of Onset~ Asthma Grandchild 13~ Comments: Comments~ Colon Cancer Mother 57~ Arthritis Brother~ Arthritis Sister~ Cancer Sister~ Cancer Maternal Grandfather~ Allergies Paternal Grandmother~ Alcohol/Drug Mother~ Gestational Diabetes Brother~~Family Status - Relation Status Age at Death~ Mother Alive~ Father Deceased~ Sister Alive~ Maternal Grandmother Deceased 68~ Maternal Grandfather Deceased 65~||||||F
";

/// ORU/R01-Basic-NG-ExampleMessage-v2.5.1.txt: enhanced mode, a training message, no receiving application.
const ORU_R01: &str = r"MSH|^~\&|NIST Test Lab APP|NIST Lab Facility||NIST EHR Facility|20150926140551||ORU^R01^ORU_R01|NIST-LOI_5.0_1.1-NG|T|2.5.1|||AL|AL|||||
PID|1||PATID5421^^^NIST MPI^MR||Wilson^Patrice^Natasha^^^^L||19820304|F||2106-3^White^HL70005|144 East 12th Street^^Los Angeles^CA^90012^^H||^PRN^PH^^^203^2290210|||||||||N^Not Hispanic or Latino^HL70189
ORC|NW|ORD448811^NIST EHR|R-511^NIST Lab Filler||||||20120628070100|||5742200012^Radon^Nicholas^^^^^^NPI^L^^^NPI
OBR|1|ORD448811^NIST EHR|R-511^NIST Lab Filler|1000^Hepatitis A B C Panel^99USL|||20120628070100|||||||||5742200012^Radon^Nicholas^^^^^^NPI^L^^^NPI
OBX|1|CWE|22314-9^Hepatitis A virus IgM Ab [Presence] in Serum^LN^HAVM^Hepatitis A IgM antibodies (IgM anti-HAV)^L^2.52||260385009^Negative (qualifier value)^SCT^NEG^NEGATIVE^L^201509USEd^^Negative (qualifier value)||Negative|N|||F|||20150925|||||201509261400
OBX|2|CWE|20575-7^Hepatitis A virus Ab [Presence] in Serum^LN^HAVAB^Hepatitis A antibodies (anti-HAV)^L^2.52||260385009^Negative (qualifier value)^SCT^NEG^NEGATIVE^L^201509USEd^^Negative (qualifier value)||Negative|N|||F|||20150925|||||201509261400
OBX|3|NM|22316-4^Hepatitis B virus core Ab [Units/volume] in Serum^LN^HBcAbQ^Hepatitis B core antibodies (anti-HBVc) Quant^L^2.52||0.70|[IU]/mL^international unit per milliliter^UCUM^IU/ml^^L^1.9|<0.50 IU/mL|H|||F|||20150925|||||201509261400
";

/// ORU/R01-Lipid-Panel-NG-ExampleMessage-v2.5.1.txt, of its four observations the first: a message for debugging with a
/// truncation character, which 2.5.1 does not have yet, and without names of applications.
const LRI_R01: &str = r"MSH|^~\&#|^372520^L|^372521^L||^372523^L|20150926140551||ORU^R01^ORU_R01|LRI_3.0_1.1-NG|D|2.5.1|||AL|AL|||||LRI_Common_Component^^2.16.840.1.113883.9.16^ISO~LRI_NG_Component^^2.16.840.1.113883.9.13^ISO~LRI_FRU_Component^^2.16.840.1.113883.9.83^ISO
PID|1||PATID1234^^^NIST MPI^MR||Jones^William^A^^^^L||19610627|M||2106-3^White^HL70005||||||||PATID1234^^^NIST MPI^AN
ORC|RE|ORD777888^NIST EHR|R-220713^NIST Lab Filler|GORD874244^NIST EHR||||||||5742200012^Radon^Nicholas^^^^^^NPI^L^^^NPI
OBR|1|ORD777888^NIST EHR|R-220713^NIST Lab Filler|24331-1^Lipid 1996 panel in Serum or Plasma^LN^345789^Lipid Panel^99USL^2.52^^Lipid 1996 panel in Serum or Plasma|||20150925||||||F^Patient was fasting prior to the procedure.^HL70916^^^^2.7.1^^fasting 12 hours|||5742200012^Radon^Nicholas^^^^^^NPI^L^^^NPI||||||20150926140551|||F|||10092000194^Hamlin^Pafford^^^^^^NPI^L^^^NPI|||||||||||||||||||||CC^Copies Requested^HL70507
OBX|1|NM|2093-3^Cholesterol [Mass/volume] in Serum or Plasma^LN^^^^2.52^^Cholesterol [Mass/volume] in Serum or Plasma||196|mg/dL^milligrams per deciliter^UCUM^^^^1.9|Recommended: <200; Moderate Risk: 200-239 ; High Risk: >240|N|||F|||20150925|||||201509261400||||Century Hospital^^^^^CLIA^XX^^^24D9871327|2070 Test Park^^Los Angeles^CA^90067^^B|5432178916^Knowsalot^Phil^^^Dr.^^^NPI^L^^^NPI||||RSLT
SPM|1|S2015-777888&NIST EHR^S-220713-1&NIST Lab Filler||119297000^BLD^SCT^^^^201509USEd^^Blood|||||||||||||20150925";

/// A server that takes messages with these processing ids.
async fn serve(processing_ids: &[&str]) -> (SocketAddr, Arc<FakeIntake>) {
    let org = OrgId::parse("north").expect("an id");
    let memory = FakeIntake::new();
    let web = Arc::new(Web::new(Duration::from_secs(5)));
    let senders =
        Senders { processing_ids: processing_ids.iter().map(ToString::to_string).collect(), ..Senders::default() };
    let receiver = Receiver::new(memory.clone(), web, BTreeMap::from([(org.clone(), senders)]), 1 << 20);
    let listen = Listen { tls: None, plain: BTreeMap::from([(org, "127.0.0.1:0".parse().expect("an address"))]) };
    let server = Server::bind(listen, Limits::default(), Arc::new(receiver)).await.expect("bound");
    let address = server.addresses()[0];
    tokio::spawn(server.run(std::future::pending()));
    (address, memory)
}

/// Sends a message and reads so many acknowledgements: each as its segments, each of these as its fields.
async fn sent(to: SocketAddr, text: &str, answers: usize) -> Vec<Vec<Vec<String>>> {
    let mut stream = TcpStream::connect(to).await.expect("connected");
    // The files end their lines as files do; on the wire a segment ends with a carriage return.
    stream.write_all(&frame(text.replace('\n', "\r").as_bytes())).await.expect("sent");
    let mut all = Vec::new();
    for _ in 0..answers {
        let mut answer = Vec::new();
        while !answer.ends_with(b"\x1c\r") {
            answer.push(stream.read_u8().await.expect("an answer"));
        }
        let text = String::from_utf8(answer).expect("text");
        let segments = text.trim_matches(['\u{b}', '\u{1c}', '\r']).split('\r');
        all.push(segments.map(|s| s.split('|').map(str::to_owned).collect()).collect());
    }
    all
}

/// MSA-1 of each answer, which go to whom the message came from and name it.
fn codes(of: &str, answers: &[Vec<Vec<String>>]) -> Vec<String> {
    let sent: Vec<&str> = of.lines().next().expect("MSH").split('|').collect();
    let mut all = Vec::new();
    for a in answers {
        let (msh, msa) = (&a[0], &a[1]);
        assert_eq!((msh[0].as_str(), msa[0].as_str()), ("MSH", "MSA"), "{a:?}");
        assert_eq!((msh[4].as_str(), msh[5].as_str()), (sent[2], sent[3]), "to the sender: {a:?}");
        assert_eq!((msh[2].as_str(), msh[3].as_str()), (sent[4], sent[5]), "from the receiver: {a:?}");
        assert!(msh[8].starts_with("ACK^") && msh[8].contains(&sent[8][4..7]), "{a:?}");
        assert_eq!((msh[10].as_str(), msh[11].as_str()), (sent[10], sent[11]), "{a:?}");
        assert_eq!(msa[2], sent[9], "{a:?}");
        all.push(msa[1].clone());
    }
    all
}

#[tokio::test]
async fn messages_that_hl7_publishes_are_acknowledged_and_kept() {
    let (to, memory) = serve(&["P", "T", "D"]).await;
    for (n, (text, expected)) in
        [(MDM_T02, &["AA"][..]), (ORU_R01, &["CA", "AA"]), (LRI_R01, &["CA", "AA"])].into_iter().enumerate()
    {
        // And again: the same message is no new work.
        for _ in 0..2 {
            let answers = sent(to, text, expected.len()).await;
            assert_eq!(codes(text, &answers), expected, "{answers:?}");
            assert!(answers.iter().all(|a| a.len() == 2), "nothing is wrong: {answers:?}");
            assert_eq!((memory.kept(), memory.lifecycles()), (n + 1, 0), "kept, and without documents");
        }
    }
}

#[tokio::test]
async fn training_and_debugging_messages_are_refused_where_they_are_not_wanted() {
    let (to, memory) = serve(&["P"]).await;
    for text in [ORU_R01, LRI_R01] {
        let answers = sent(to, text, 1).await;
        assert_eq!(codes(text, &answers), ["CR"], "{answers:?}");
        // Table 0357.
        assert!(answers[0].iter().any(|s| s[0] == "ERR" && s.join("|").contains("202^")), "{answers:?}");
    }
    assert_eq!(codes(MDM_T02, &sent(to, MDM_T02, 1).await), ["AA"]);
    assert_eq!(memory.kept(), 1);
}

/// The same with a document in the place of its text, which is how a recording comes.
#[tokio::test]
async fn a_document_in_a_published_message_is_taken() {
    let (to, memory) = serve(&["P", "T"]).await;
    let ed = "OBX|2|ED|11524-6^EKG study^LN||^TEXT^^Base64^MSwyCjMsNAo=||||||F";
    for (text, expected) in [(MDM_T02, &["AA"][..]), (ORU_R01, &["CA", "AA"])] {
        let text = format!("{text}{ed}\n");
        assert_eq!(codes(&text, &sent(to, &text, expected.len()).await), expected);
    }
    assert_eq!((memory.kept(), memory.lifecycles()), (2, 2));
}
