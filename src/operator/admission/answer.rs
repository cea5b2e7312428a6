//! Admission reviews and their responses. Whatever bytes arrive, the response is well-formed (invariant 19).

use json_patch::Patch;
use kube::core::{
    DynamicObject, Status,
    admission::{AdmissionRequest, AdmissionResponse, AdmissionReview, META_API_VERSION_V1, META_KIND},
};

use super::class::Class;
use crate::json_bounds::{JsonBounds, check_two};
use api::{Reason, text::printable};
use domain::Refusal;
use kube_io::call::ReadError;

/// The admission request of a write.
pub type Asked = AdmissionRequest<DynamicObject>;

/// Longest warning that every API server passes on without truncation, in bytes.
const MAX_WARNING: usize = 256;
/// Most warnings in one response.
const MAX_WARNINGS: usize = 8;
/// Most JSON values of one review. By its schema, no object of our kinds has a third of that, with everything that an API server adds.
const MAX_VALUES: usize = 20_000;
/// Values of a review per permit. Parsed, they need some hundred KiB.
const VALUES_A_PERMIT: usize = 1_000;
/// Bytes of a review per permit.
const BYTES_A_PERMIT: usize = 64 << 10;
/// Audit annotations of a response. The API server prefixes the keys with the webhook's name.
pub mod audit {
    /// The reason of the denial, in one word. The admission policies write theirs under the same key.
    pub const CODE: &str = "code";
    /// UID of the request that was created or decided. It connects the audit log to stored objects.
    pub const REQUEST_UID: &str = "request-uid";
    /// Hash of what would be granted: of a request as it is created, of a decision as its author saw it.
    pub const DIGEST: &str = "digest";
    /// The decision.
    pub const DECISION: &str = "decision";
}

/// The code of [`Answer::Unexamined`].
pub(super) const UNEXAMINED: &str = "Unexamined";

/// The response to a write.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The write is allowed.
    Allowed {
        /// Changes of the object.
        patch: Patch,
        /// Warnings for the author.
        warnings: Vec<String>,
        /// Annotations of the API server's audit log, by the keys in [`audit`].
        notes: Vec<(&'static str, String)>,
    },
    /// A rule denies the write.
    Refused(Refusal),
    /// The object does not conform to its kind.
    Malformed(String),
    /// The write could not be reviewed. No write is allowed without a review (T43).
    Unexamined(String),
}

impl Answer {
    /// Allows the write unchanged.
    #[must_use]
    pub fn allowed() -> Self {
        Self::patched(Patch::default())
    }

    /// Denies a write because a required call failed.
    #[must_use]
    pub fn unclear(what: &str, error: &str) -> Self {
        Self::Unexamined(format!("cannot determine {what}: {error}; try again"))
    }

    /// Allows the write with changes.
    #[must_use]
    pub fn patched(patch: Patch) -> Self {
        Self::Allowed { patch, warnings: Vec::new(), notes: Vec::new() }
    }

    /// Allows the write with warnings.
    #[must_use]
    pub fn warned(warnings: impl IntoIterator<Item = String>) -> Self {
        Self::Allowed { patch: Patch::default(), warnings: warnings.into_iter().collect(), notes: Vec::new() }
    }

    /// Adds audit annotations, which apply if the write is allowed.
    #[must_use]
    pub fn noting(mut self, said: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        if let Self::Allowed { notes, .. } = &mut self {
            notes.extend(said);
        }
        self
    }

    /// Returns the reason of a denial as one word of a fixed set, for metrics and the audit log; `None` if the write is allowed.
    #[must_use]
    pub const fn code(&self) -> Option<&'static str> {
        match self {
            Self::Allowed { .. } => None,
            Self::Refused(refusal) => Some(refusal.reason.as_str()),
            Self::Malformed(_) => Some("Malformed"),
            Self::Unexamined(_) => Some(UNEXAMINED),
        }
    }

    /// Returns reason and message of a denial, safe to show; `None` if the write is allowed.
    #[must_use]
    pub fn refusal(&self) -> Option<(Reason, String)> {
        let (reason, message) = match self {
            Self::Allowed { .. } => return None,
            Self::Refused(refusal) => (refusal.reason, refusal.message.as_str()),
            Self::Malformed(message) => (Reason::InvalidField, message.as_str()),
            Self::Unexamined(message) => (Reason::Unreadable, message.as_str()),
        };
        Some((reason, printable(message)))
    }

    /// Returns the review with this response, for the request with this `uid`.
    #[must_use]
    pub fn into_review(self, uid: &str) -> AdmissionReview<DynamicObject> {
        let mut response = AdmissionResponse::invalid("");
        uid.clone_into(&mut response.uid);
        if let Some((reason, message)) = self.refusal() {
            let (status, word) = self.http();
            response.result = Status::failure(&format!("{reason}: {message}"), word).with_code(status);
            let code = self.code().unwrap_or_default();
            response.audit_annotations.insert(audit::CODE.to_owned(), code.to_owned());
            return response.into_review();
        }
        if let Self::Allowed { patch, warnings, notes } = self {
            response.allowed = true;
            response.result = Status::success();
            // Text of clients is made printable and short here too: it becomes part of the audit log (T13).
            let said = notes.into_iter().filter(|(_, text)| !text.is_empty());
            response.audit_annotations.extend(said.map(|(key, text)| (key.to_owned(), warning(&text))));
            response.warnings = (!warnings.is_empty()).then(|| warnings.iter().take(MAX_WARNINGS).map(|text| warning(text)).collect());
            if !patch.is_empty() {
                // A patch of JSON values always serialises. If it did not, the admission policies would deny the unstamped object.
                response = response.clone().with_patch(patch).unwrap_or(response);
            }
        }
        response.into_review()
    }

    /// Returns the HTTP code and the reason of Kubernetes for it.
    const fn http(&self) -> (u16, &'static str) {
        match self {
            Self::Allowed { .. } => (200, ""),
            Self::Refused(_) => (403, "Forbidden"),
            Self::Malformed(_) => (422, "Invalid"),
            Self::Unexamined(_) => (503, "ServiceUnavailable"),
        }
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<ReadError> for Answer {
    fn from(error: ReadError) -> Self {
        Self::Unexamined(format!("{error}; no write is allowed without a review, try again"))
    }
}

fn warning(text: &str) -> String {
    let shown = printable(text);
    if shown.len() <= MAX_WARNING {
        return shown;
    }
    let mut end = MAX_WARNING - 3;
    while !shown.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}...", shown.get(..end).unwrap_or_default())
}

/// Why a body could not be parsed as a review.
#[derive(Debug)]
pub enum Unread {
    /// It is no review, so there is no UID to respond to.
    NoReview(String),
    /// It has the UID of a review, but cannot be parsed.
    Question {
        /// The UID.
        uid: String,
        /// The response.
        answer: Box<Answer>,
    },
}

/// A body that passed the JSON bounds check and is not parsed yet (T26). It is valid JSON and has no more values than a review may have.
#[derive(Debug)]
pub struct Unopened<'a> {
    body: &'a [u8],
    survey: JsonBounds,
    class: Class,
}

impl<'a> Unopened<'a> {
    /// Checks the bounds of `body`.
    pub fn new(body: &'a [u8]) -> Result<Self, Unread> {
        let found = check_two(body, &["request", "uid"], &["request", "resource", "resource"]);
        let (survey, resource) = found.map_err(|error| no_review(&error.to_string()))?;
        let class = Class::of(resource.as_deref().unwrap_or_default());
        let (values, unopened) = (survey.values, Self { body, survey, class });
        if values > MAX_VALUES {
            let why = format!("the admission review has {values} JSON values, at most {MAX_VALUES} are allowed");
            return Err(unopened.refused(Answer::Malformed(why)));
        }
        Ok(unopened)
    }

    /// Returns the number of permits that it takes.
    #[must_use]
    pub fn permits(&self) -> u32 {
        let permits = 1 + (self.survey.values / VALUES_A_PERMIT).max(self.body.len() / BYTES_A_PERMIT);
        u32::try_from(permits).unwrap_or(u32::MAX)
    }

    /// Returns the class whose permits it takes.
    pub(super) const fn class(&self) -> Class {
        self.class
    }

    /// Parses the admission request.
    pub fn question(self) -> Result<Asked, Unread> {
        match serde_json::from_slice::<AdmissionReview<DynamicObject>>(self.body) {
            Ok(AdmissionReview { types, request: Some(asked), .. })
                if types.api_version == META_API_VERSION_V1 && types.kind == META_KIND =>
            {
                Ok(asked)
            }
            Ok(_) => Err(no_review("it has no request, or another version")),
            Err(error) => Err(self.refused(Answer::Malformed(format!("the object cannot be read: {error}")))),
        }
    }

    /// Denies the request without parsing it. Without a UID there is no request to respond to.
    #[must_use]
    pub fn refused(self, answer: Answer) -> Unread {
        match self.survey.text.filter(|uid| !uid.is_empty()) {
            Some(uid) => Unread::Question { uid, answer: Box::new(answer) },
            None => no_review(&answer.refusal().map(|(_, why)| why).unwrap_or_default()),
        }
    }
}

fn no_review(why: &str) -> Unread {
    Unread::NoReview(format!("this is no {META_KIND} of {META_API_VERSION_V1}: {}", printable(why)))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn question(body: &[u8]) -> Result<Asked, Unread> {
        Unopened::new(body)?.question()
    }

    fn answered(answer: Answer) -> Value {
        serde_json::to_value(answer.into_review("u-1")).unwrap()["response"].clone()
    }

    #[test]
    fn every_answer_has_the_uid_and_a_code() {
        let refused = answered(Refusal::new(Reason::SelfApprovalNotAllowed, "your own").into());
        assert_eq!(refused["uid"], "u-1");
        assert_eq!(refused["allowed"], false);
        assert_eq!(refused["status"]["message"], "SelfApprovalNotAllowed: your own");
        assert_eq!((&refused["status"]["code"], &refused["status"]["reason"]), (&403.into(), &"Forbidden".into()));
        assert_eq!(refused["auditAnnotations"], serde_json::json!({"code": "SelfApprovalNotAllowed"}));
        for (answer, code) in [(Answer::Malformed("x".to_owned()), "Malformed"), (Answer::Unexamined("x".to_owned()), "Unexamined")] {
            assert_eq!(answered(answer)["auditAnnotations"]["code"], code);
        }
        assert_eq!(answered(Answer::Malformed("x".to_owned()))["status"]["code"], 422);
        assert_eq!(answered(Answer::Unexamined("x".to_owned()))["status"]["code"], 503);
        let allowed = answered(Answer::allowed());
        assert_eq!((&allowed["allowed"], &allowed["uid"]), (&true.into(), &"u-1".into()));
        assert!(allowed.get("patch").is_none() && allowed.get("warnings").is_none() && allowed.get("auditAnnotations").is_none());
        let noted = answered(Answer::allowed().noting([(audit::REQUEST_UID, "u-7".to_owned()), (audit::DIGEST, String::new())]));
        assert_eq!((&noted["allowed"], &noted["auditAnnotations"]), (&true.into(), &serde_json::json!({"request-uid": "u-7"})));
    }

    #[test]
    fn t13_no_user_text_reaches_an_answer_unescaped() {
        let text = "a\nb\u{1b}[31m\u{202e}c";
        for answer in
            [Refusal::new(Reason::NotEligible, text).into(), Answer::Malformed(text.to_owned()), Answer::Unexamined(text.to_owned())]
        {
            let message = answered(answer)["status"]["message"].as_str().unwrap().to_owned();
            assert!(!message.chars().any(api::text::is_forbidden), "{message:?}");
        }
        let noted = answered(Answer::allowed().noting([(audit::DECISION, text.to_owned())]))["auditAnnotations"]["decision"].clone();
        assert!(!noted.as_str().unwrap().chars().any(api::text::is_forbidden));
        let warned = answered(Answer::warned([text.to_owned(), "é".repeat(300)]));
        let warnings: Vec<&str> = warned["warnings"].as_array().unwrap().iter().map(|w| w.as_str().unwrap()).collect();
        assert!(!warnings[0].chars().any(api::text::is_forbidden));
        assert!(warnings[1].len() <= MAX_WARNING && warnings[1].ends_with("..."));
    }

    #[test]
    fn what_is_no_question_is_told_apart_from_one_that_cannot_be_read() {
        for body in [
            "",
            "{",
            "[]",
            "null",
            "{}",
            r#"{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview"}"#,
            r#"{"request":{"uid":""}}"#,
        ] {
            assert!(matches!(question(body.as_bytes()), Err(Unread::NoReview(_))), "{body}");
        }
        let body = r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u-1","operation":7}}"#;
        assert!(matches!(question(body.as_bytes()), Err(Unread::Question { uid, .. }) if uid == "u-1"));
        assert!(question(&b"[".repeat(100_000)).is_err(), "nested too deep");
    }

    /// Returns an object with a list of so many numbers, and `fill` bytes of text.
    fn long(values: usize, fill: usize) -> Vec<u8> {
        let zeros = vec!["0"; values].join(",");
        format!(r#"{{"request":{{"uid":"u-1","object":{{"text":"{}","zeros":[{zeros}]}}}}}}"#, "x".repeat(fill)).into_bytes()
    }

    #[test]
    fn t26_a_question_of_more_values_than_any_object_has_is_refused_unread() {
        // In addition to the numbers there are the whole, the request, its UID, the object, the text and the list.
        let most = MAX_VALUES - 6;
        assert!(Unopened::new(&long(most, 0)).is_ok());
        let Err(Unread::Question { uid, answer }) = Unopened::new(&long(most + 1, 0)) else { panic!("it is accepted") };
        assert_eq!(uid, "u-1");
        let why = "the admission review has 20001 JSON values, at most 20000 are allowed";
        assert_eq!(answer.refusal(), Some((Reason::InvalidField, why.to_owned())));
        let nobody = String::from_utf8(long(most + 1, 0)).unwrap().replace("u-1", "");
        assert!(matches!(Unopened::new(nobody.as_bytes()), Err(Unread::NoReview(said)) if said.ends_with(why)));
    }

    #[test]
    fn t26_a_great_question_takes_more_permits() {
        let shares = |values, fill| Unopened::new(&long(values, fill)).unwrap().permits();
        assert_eq!((shares(10, 0), shares(990, 0), shares(1_000, 0), shares(19_990, 0)), (1, 1, 2, 20));
        assert_eq!((shares(10, 60_000), shares(10, 70_000), shares(10, 3_000_000)), (1, 2, 46));
    }
}
