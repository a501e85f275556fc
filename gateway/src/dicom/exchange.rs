//! Fragments become messages (PS3.7 6.3, PS3.8 annex E). Pure but for the count of the bytes held.

use super::command::{self, C_CANCEL_RQ, C_ECHO_RQ, C_STORE_RQ, RESPONSE, Request};
use super::negotiate::{Agreed, Context};
use super::store::{Announced, Refused, status};
use super::{part10, uids};
use bytes::Bytes;
use dicom_ul::pdu::{AbortRQServiceProviderReason as Abort, PDataValue, PDataValueType};
use leadline_domain::OrgId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A command set has a dozen short elements.
const MAX_COMMAND: usize = 16 << 10;

/// What all senders hold in memory together, and each organization among them.
#[derive(Debug)]
pub(crate) struct Budget {
    held: Mutex<Held>,
    limit: usize,
    own: usize,
}

#[derive(Debug, Default)]
struct Held {
    all: usize,
    of: BTreeMap<OrgId, usize>,
}

impl Budget {
    /// One organization gets three quarters of it, so that there is always room for another, and at least one object of
    /// the longest: alone it can send whatever is taken.
    pub(crate) fn new(limit: usize, object: usize) -> Arc<Self> {
        let own = (limit - limit / 4).max(object).min(limit);
        Arc::new(Self { held: Mutex::default(), limit, own })
    }

    fn take(&self, org: &OrgId, n: usize) -> bool {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let own = held.of.get(org).copied().unwrap_or_default();
        let within = |held: usize, limit: usize| held.checked_add(n).filter(|sum| *sum <= limit);
        let (Some(all), Some(own)) = (within(held.all, self.limit), within(own, self.own)) else { return false };
        held.all = all;
        held.of.insert(org.clone(), own);
        true
    }

    fn give(&self, org: &OrgId, n: usize) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.all -= n;
        if let Some(own) = held.of.get_mut(org) {
            *own -= n;
        }
    }

    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.held.lock().unwrap().all
    }
}

/// An organization's part of the budget; given back when dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    budget: Arc<Budget>,
    org: OrgId,
    held: usize,
}

impl Hold {
    pub(crate) fn new(budget: &Arc<Budget>, org: &OrgId) -> Self {
        Self { budget: Arc::clone(budget), org: org.clone(), held: 0 }
    }

    pub(crate) fn more(&mut self, n: usize) -> bool {
        let taken = self.budget.take(&self.org, n);
        self.held += if taken { n } else { 0 };
        taken
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.budget.give(&self.org, self.held);
    }
}

/// What to do after a fragment.
#[derive(Debug)]
pub(crate) enum Step {
    /// The message goes on.
    More,
    /// Send this command set; with what is wrong with the request, if anything is.
    Answer(u8, Vec<u8>, Option<Refused>),
    /// Keep this object, then answer.
    Store(Box<Store>),
    /// The peer does not keep to the protocol.
    Abort(Abort),
}

/// A whole object.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) context: u8,
    pub(crate) request: Request,
    pub(crate) announced: Announced,
    /// The object as a file.
    pub(crate) file: Bytes,
    /// Where the data set begins in it.
    pub(crate) data: usize,
    /// Until it is dropped the object counts as held.
    pub(crate) hold: Hold,
}

/// A message that has a data set, while that comes.
struct Open {
    context: u8,
    request: Request,
    announced: Announced,
    file: Vec<u8>,
    data: usize,
    /// Why it will not be kept; its data is let pass.
    refused: Option<Refused>,
    passed: usize,
    hold: Hold,
}

/// One association's messages, one at a time: more is not negotiated (PS3.7 D.3.3.3).
pub(crate) struct Exchange {
    org: OrgId,
    contexts: BTreeMap<u8, Context>,
    limit: usize,
    budget: Arc<Budget>,
    command: Option<(u8, Vec<u8>)>,
    open: Option<Open>,
    /// Bytes of the message that is on its way.
    pending: usize,
}

impl Exchange {
    pub(crate) fn new(agreed: &Agreed, limit: usize, budget: Arc<Budget>) -> Self {
        let (org, contexts) = (agreed.org.clone(), agreed.contexts.clone());
        Self { org, contexts, limit, budget, command: None, open: None, pending: 0 }
    }

    /// Bytes that have come of a message that has not ended.
    pub(crate) fn pending(&self) -> usize {
        self.pending
    }

    /// Nothing of a message has come yet.
    pub(crate) fn between(&self) -> bool {
        self.command.is_none() && self.open.is_none()
    }

    /// The next fragment.
    pub(crate) fn push(&mut self, pdv: PDataValue) -> Step {
        let length = pdv.data.len();
        let step = self.pushed(pdv);
        self.pending = if self.between() { 0 } else { self.pending + length };
        step
    }

    fn pushed(&mut self, pdv: PDataValue) -> Step {
        match (pdv.value_type, self.open.is_some()) {
            (PDataValueType::Command, false) => self.commanded(pdv.presentation_context_id, pdv.is_last, &pdv.data),
            (PDataValueType::Data, true) => self.data(pdv.presentation_context_id, pdv.is_last, &pdv.data),
            // Data that belongs to nothing, or a command in the middle of a data set.
            _ => Step::Abort(Abort::UnexpectedPduParameter),
        }
    }

    fn commanded(&mut self, context: u8, last: bool, data: &[u8]) -> Step {
        let (begun, mut bytes) = self.command.take().unwrap_or((context, Vec::new()));
        if begun != context || !self.contexts.contains_key(&context) || bytes.len() + data.len() > MAX_COMMAND {
            return Step::Abort(Abort::InvalidPduParameter);
        }
        bytes.extend_from_slice(data);
        if !last {
            self.command = Some((context, bytes));
            return Step::More;
        }
        match command::read(&bytes) {
            Some(request) if request.field & RESPONSE == 0 => self.requested(context, request),
            _ => Step::Abort(Abort::InvalidPduParameter),
        }
    }

    fn requested(&mut self, context: u8, request: Request) -> Step {
        let refused = match request.field {
            C_CANCEL_RQ => return Step::More,
            C_ECHO_RQ if !request.data => {
                return Step::Answer(context, command::response(&request, status::SUCCESS, ""), None);
            }
            C_STORE_RQ => self.refusal(context, &request),
            _ => Some(Refused::new(status::UNRECOGNIZED_OPERATION, "C-ECHO and C-STORE only")),
        };
        if !request.data {
            let why = refused.unwrap_or_else(|| Refused::new(status::CANNOT_UNDERSTAND, "no data set"));
            return Step::Answer(context, command::response(&request, why.status, &why.comment), Some(why));
        }
        let syntax = self.contexts.get(&context).map(|c| c.syntax.clone()).unwrap_or_default();
        let announced = Announced { class: request.class.clone(), instance: request.instance.clone(), syntax };
        // A UID that is not usable has been refused: what is written here is short.
        let file = match refused {
            None => part10::header(&announced.class, &announced.instance, &announced.syntax),
            Some(_) => Vec::new(),
        };
        let hold = Hold::new(&self.budget, &self.org);
        let data = file.len();
        self.open = Some(Open { context, request, announced, file, data, refused, passed: 0, hold });
        Step::More
    }

    /// Why an object will not be kept, as far as the command tells.
    fn refusal(&self, context: u8, request: &Request) -> Option<Refused> {
        let agreed = self.contexts.get(&context)?;
        if !uids::stored(&request.class) || agreed.class != request.class {
            return Some(Refused::new(status::CLASS_NOT_SUPPORTED, "not the class of the presentation context"));
        }
        (!uids::usable(&request.instance)).then(|| Refused::new(status::INVALID_INSTANCE, "no usable SOP instance UID"))
    }

    fn data(&mut self, context: u8, last: bool, data: &[u8]) -> Step {
        let Some(mut open) = self.open.take() else { return Step::Abort(Abort::UnexpectedPduParameter) };
        if open.context != context {
            return Step::Abort(Abort::InvalidPduParameter);
        }
        if open.refused.is_none() {
            if open.file.len() - open.data + data.len() > self.limit {
                open.refused = Some(Refused::too_large());
            } else if open.hold.more(data.len()) {
                open.file.extend_from_slice(data);
            } else {
                open.refused = Some(Refused::new(status::OUT_OF_RESOURCES, "send it again later"));
            }
        }
        if open.refused.is_some() {
            // The peer gets to hear why at the end of its object; but that has to come.
            (open.file, open.passed) = (Vec::new(), open.passed + data.len());
            open.hold = Hold::new(&self.budget, &self.org);
            if open.passed > self.limit {
                return Step::Abort(Abort::ReasonNotSpecified);
            }
        }
        if !last {
            self.open = Some(open);
            return Step::More;
        }
        match open.refused {
            Some(why) => {
                let answer = command::response(&open.request, why.status, &why.comment);
                Step::Answer(context, answer, Some(why))
            }
            None => Step::Store(Box::new(Store {
                context,
                request: open.request,
                announced: open.announced,
                file: open.file.into(),
                data: open.data,
                hold: open.hold,
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::command::{request, status as status_of};
    use super::super::negotiate::tests::ECG;
    use super::*;
    use proptest::prelude::*;

    fn org(id: &str) -> OrgId {
        OrgId::parse(id).unwrap()
    }

    fn exchange(limit: usize, budget: &Arc<Budget>) -> Exchange {
        let context = |class: &str| Context { class: class.into(), syntax: uids::EXPLICIT_LE.into() };
        let contexts = [(1, context(ECG)), (3, context(uids::VERIFICATION))].into();
        let agreed = Agreed { org: org("st-mary"), contexts, peer_max_pdu: 0 };
        Exchange::new(&agreed, limit, Arc::clone(budget))
    }

    fn pdv(context: u8, command: bool, last: bool, data: &[u8]) -> PDataValue {
        PDataValue {
            presentation_context_id: context,
            value_type: if command { PDataValueType::Command } else { PDataValueType::Data },
            is_last: last,
            data: data.to_vec(),
        }
    }

    fn answered(step: Step) -> u16 {
        match step {
            Step::Answer(_, bytes, _) => status_of(&bytes).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn fragments_of_any_size_make_one_object_and_the_hold_goes_with_it() {
        let budget = Budget::new(1000, 1000);
        let mut x = exchange(100, &budget);
        let rq = request(C_STORE_RQ, 1, ECG, "1.2.3");
        assert!(matches!(x.push(pdv(1, true, false, &rq[..9])), Step::More));
        assert!(!x.between());
        assert!(matches!(x.push(pdv(1, true, true, &rq[9..])), Step::More));
        assert!(matches!(x.push(pdv(1, false, false, b"abc")), Step::More));
        let Step::Store(s) = x.push(pdv(1, false, true, b"def")) else { panic!() };
        assert_eq!((&s.file[s.data..], budget.held()), (b"abcdef".as_slice(), 6));
        assert!(x.between());
        drop(s);
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn too_large_is_told_at_its_end_and_too_much_is_cut_off() {
        let budget = Budget::new(1000, 1000);
        let mut x = exchange(10, &budget);
        x.push(pdv(1, true, true, &request(C_STORE_RQ, 1, ECG, "1.2.3")));
        assert!(matches!(x.push(pdv(1, false, false, &[0; 8])), Step::More));
        assert!(matches!(x.push(pdv(1, false, false, &[0; 8])), Step::More));
        assert_eq!(budget.held(), 0);
        assert_eq!(answered(x.push(pdv(1, false, true, &[0; 2]))), status::OUT_OF_RESOURCES);
        x.push(pdv(1, true, true, &request(C_STORE_RQ, 2, ECG, "1.2.3")));
        x.push(pdv(1, false, false, &[0; 11]));
        assert!(matches!(x.push(pdv(1, false, false, &[0; 11])), Step::Abort(_)));
    }

    #[test]
    fn a_full_budget_asks_to_come_again() {
        let budget = Budget::new(10, 10);
        let (mut x, mut y) = (exchange(100, &budget), exchange(100, &budget));
        for e in [&mut x, &mut y] {
            e.push(pdv(1, true, true, &request(C_STORE_RQ, 1, ECG, "1.2.3")));
        }
        assert!(matches!(x.push(pdv(1, false, false, &[0; 8])), Step::More));
        assert_eq!(answered(y.push(pdv(1, false, true, &[0; 8]))), status::OUT_OF_RESOURCES);
        assert!(matches!(x.push(pdv(1, false, true, &[0; 2])), Step::Store(_)));
    }

    #[test]
    fn an_organization_cannot_hold_all_of_it_and_alone_one_object() {
        let budget = Budget::new(400, 100);
        let [mut mary, mut other] = ["st-mary", "uni-clinic"].map(|o| Hold::new(&budget, &org(o)));
        assert!(mary.more(300) && !mary.more(1));
        assert!(!Hold::new(&budget, &org("st-mary")).more(1), "of all its objects together");
        assert!(other.more(100) && !other.more(1));
        drop(mary);
        assert!(other.more(200) && !other.more(1));
        drop(other);
        assert_eq!(budget.held(), 0);
        let one = Budget::new(100, 100);
        assert!(Hold::new(&one, &org("st-mary")).more(100));
    }

    #[test]
    fn each_breach_of_the_protocol_ends_it() {
        let budget = Budget::new(1000, 1000);
        let mut x = exchange(100, &budget);
        assert!(matches!(x.push(pdv(1, false, true, b"data first")), Step::Abort(_)));
        assert!(matches!(x.push(pdv(9, true, true, &request(C_ECHO_RQ, 1, "1", ""))), Step::Abort(_)));
        assert!(matches!(x.push(pdv(1, true, true, b"garbage")), Step::Abort(_)));
        assert!(matches!(x.push(pdv(1, true, false, &[0; MAX_COMMAND + 1])), Step::Abort(_)));
        x.push(pdv(1, true, true, &request(C_STORE_RQ, 1, ECG, "1.2.3")));
        assert!(matches!(x.push(pdv(3, false, true, b"other context")), Step::Abort(_)));
    }

    #[test]
    fn echo_and_what_is_not_offered() {
        let budget = Budget::new(1000, 1000);
        let mut x = exchange(100, &budget);
        assert_eq!(answered(x.push(pdv(3, true, true, &request(C_ECHO_RQ, 1, uids::VERIFICATION, "")))), 0);
        let find = request(0x0020, 1, ECG, "");
        assert_eq!(answered(x.push(pdv(1, true, true, &find))), status::UNRECOGNIZED_OPERATION);
        x.push(pdv(3, true, true, &request(C_STORE_RQ, 1, ECG, "1.2.3")));
        assert_eq!(answered(x.push(pdv(3, false, true, b""))), status::CLASS_NOT_SUPPORTED);
        x.push(pdv(1, true, true, &request(C_STORE_RQ, 1, ECG, "")));
        assert_eq!(answered(x.push(pdv(1, false, true, b""))), status::INVALID_INSTANCE);
    }

    proptest! {
        /// Whatever comes, what is held is what an open message holds, and within the budget.
        #[test]
        fn nothing_is_held_that_is_not_given_back(
            steps in proptest::collection::vec((0u8..4, any::<bool>(), any::<bool>(), 0usize..60), 0..60)
        ) {
            let budget = Budget::new(90, 50);
            {
                let mut x = exchange(50, &budget);
                for (context, command, last, len) in steps {
                    let bytes = if command && len % 2 == 0 { request(C_STORE_RQ, 1, ECG, "1.2") } else { vec![0; len] };
                    let _ = x.push(pdv(context, command, last, &bytes));
                    prop_assert!(budget.held() <= 90);
                    prop_assert!(!x.between() || budget.held() == 0);
                }
            }
            prop_assert_eq!(budget.held(), 0);
        }
    }
}
