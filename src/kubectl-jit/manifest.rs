//! The requests and decisions that commands create.

use clap::Args;
use kube::core::ObjectMeta;
use serde::Serialize;

use super::problem::Problem;
use api::{
    ActivationDecision, ActivationDecisionSpec, Duration, Line, RoleActivationRequest, RoleActivationRequestSpec, Verb,
    decision::RequestRef,
    eligibility::NameRef,
    request::Ticket,
    text::{LineError, printable},
};

/// The maximum length of generateName: the API server appends five letters and limits the name to 63.
const MAX_GENERATED: usize = 58;

/// The flags for the content of a request, except eligibility and namespace.
#[derive(Clone, Debug, Default, Args)]
pub struct RequestFlags {
    /// Duration, for example 45m or 1h30m; defaults to that of the eligibility.
    #[arg(short, long, value_name = "TIME")]
    pub duration: Option<Duration>,
    /// The justification, for approvers and auditors.
    #[arg(short, long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// The ticket, as NUMBER or SYSTEM:NUMBER.
    #[arg(long, value_name = "TICKET")]
    pub ticket: Option<String>,
    /// Skip approval where the policy allows it; a review follows.
    #[arg(long)]
    pub emergency: bool,
}

impl RequestFlags {
    /// The values of the flags with the requested start.
    #[must_use]
    pub fn values(&self, start: Option<jiff::Timestamp>) -> RequestValues {
        let Self { duration, reason, ticket, emergency } = self.clone();
        RequestValues { duration, reason, ticket, start, emergency }
    }
}

/// The content of a request, except eligibility and namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestValues {
    /// The duration.
    pub duration: Option<Duration>,
    /// The justification.
    pub reason: Option<String>,
    /// The ticket, as `NUMBER` or `SYSTEM:NUMBER`.
    pub ticket: Option<String>,
    /// The requested start.
    pub start: Option<jiff::Timestamp>,
    /// Whether it is an emergency.
    pub emergency: bool,
}

/// A request for an eligibility. `who` is only part of its name.
pub fn request(eligibility: &str, namespace: &str, who: &str, values: &RequestValues) -> Result<RoleActivationRequest, Problem> {
    let spec = RoleActivationRequestSpec {
        eligibility_ref: NameRef { name: eligibility.to_owned() },
        duration: values.duration,
        start_time: values.start,
        emergency: values.emergency,
        justification: values.reason.as_deref().map(|reason| line("the reason", reason)).transpose()?,
        ticket: values.ticket.as_deref().map(ticket).transpose()?,
        ..RoleActivationRequestSpec::default()
    };
    let generate_name = Some(generated(eligibility, who));
    let metadata = ObjectMeta { generate_name, namespace: Some(namespace.to_owned()), ..ObjectMeta::default() };
    Ok(RoleActivationRequest { metadata, spec, status: None })
}

/// The generateName of a request: eligibility and user, as far as a name can contain them.
#[must_use]
pub fn generated(eligibility: &str, who: &str) -> String {
    // The short name in `oidc:ann@example.org` or `system:serviceaccount:a:b`.
    let short = who.rsplit([':', '#']).next().unwrap_or_default().split('@').next().unwrap_or_default();
    let plain = |text: &str| -> String {
        let letters: String = text.to_lowercase().chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' }).collect();
        letters.trim_matches('-').to_owned()
    };
    let (role, person) = (plain(eligibility), plain(short));
    let whole = if person.is_empty() { role } else { format!("{role}-{person}") };
    let cut: String = whole.chars().take(MAX_GENERATED - 1).collect();
    format!("{}-", cut.trim_matches('-'))
}

/// A decision on a request.
pub fn decision(request: &RoleActivationRequest, verb: Verb, comment: Option<&str>) -> Result<ActivationDecision, Problem> {
    let name = request.metadata.name.clone().unwrap_or_default();
    let beginning: String = name.chars().take(MAX_GENERATED - 1).collect();
    let metadata = ObjectMeta {
        generate_name: Some(format!("{}-", beginning.trim_end_matches(['-', '.']))),
        namespace: request.metadata.namespace.clone(),
        ..ObjectMeta::default()
    };
    let spec = ActivationDecisionSpec {
        // The UID of the shown request: a decision must not apply to a later request with the same name (T3).
        request_ref: RequestRef { name, uid: request.metadata.uid.clone(), requester: None },
        decision: verb,
        digest: None,
        duration: None,
        comment: comment.map(|comment| line("the message", comment)).transpose()?,
        decider: None,
    };
    Ok(ActivationDecision { metadata, spec })
}

/// Checks that a request was stored as it was sent. A mutating webhook could change what a user writes in their own name; no admission
/// policy can detect that (T1), but the sender can.
pub fn is_stored(sent: &RoleActivationRequest, stored: &RoleActivationRequest) -> Result<(), Problem> {
    let unstamped = RoleActivationRequestSpec { requester: sent.spec.requester.clone(), ..stored.spec.clone() };
    same("request", &stored.metadata, &sent.spec, &unstamped)
}

/// The same about a decision.
pub fn is_stored_decision(sent: &ActivationDecision, stored: &ActivationDecision) -> Result<(), Problem> {
    let mut unstamped = ActivationDecisionSpec { decider: sent.spec.decider.clone(), ..stored.spec.clone() };
    unstamped.request_ref.requester.clone_from(&sent.spec.request_ref.requester);
    if sent.spec.request_ref.uid.is_none() {
        unstamped.request_ref.uid = None;
    }
    same("decision", &stored.metadata, &sent.spec, &unstamped)
}

fn same<S: PartialEq + Serialize>(what: &str, meta: &ObjectMeta, sent: &S, stored: &S) -> Result<(), Problem> {
    if sent == stored {
        return Ok(());
    }
    let member = |spec: &S, name: &str| serde_json::to_value(spec).ok().and_then(|spec| spec.get(name).cloned()).unwrap_or_default();
    let names = [sent, stored].map(|spec| serde_json::to_value(spec).ok().and_then(|spec| spec.as_object().cloned()).unwrap_or_default());
    let changed = names.iter().flat_map(|members| members.keys()).find(|name| member(sent, name) != member(stored, name));
    let changed = changed.cloned().unwrap_or_default();
    Err(Problem::Api(printable(&format!(
        "the cluster stored a different {what} than was sent, '{}/{}': spec.{changed} is {}, but {} was sent; something modifies objects at \
         admission: withdraw it at once and tell an admin",
        meta.namespace.as_deref().unwrap_or_default(),
        meta.name.as_deref().unwrap_or_default(),
        member(stored, &changed),
        member(sent, &changed),
    ))))
}

/// A text of a user as the API accepts it. Line breaks and tabs of pasted text become blanks.
pub fn line<const MAX: usize>(what: &str, text: &str) -> Result<Line<MAX>, Problem> {
    let parts: Vec<&str> = text.split(['\n', '\r', '\t']).map(str::trim).filter(|part| !part.is_empty()).collect();
    let text = if parts.len() > 1 { parts.join(" ") } else { text.trim_matches(['\n', '\r', '\t']).to_owned() };
    Line::try_from(text).map_err(|error: LineError| Problem::Usage(format!("{what} {error}")))
}

fn ticket(text: &str) -> Result<Ticket, Problem> {
    let (system, number) = match text.split_once(':') {
        Some((system, number)) => (Some(system), number),
        None => (None, text),
    };
    Ok(Ticket { system: system.map(|system| line("the ticket's system", system)).transpose()?, number: Some(line("the ticket", number)?) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use api::names::is_object_name;

    #[test]
    fn names_say_what_and_who() {
        for (eligibility, who, name) in [
            ("prod-debugger", "alice", "prod-debugger-alice-"),
            ("edit", "oidc:Ann.Lee@example.org", "edit-ann-lee-"),
            ("edit", "system:serviceaccount:ci:robot", "edit-robot-"),
            ("edit", "日本", "edit-"),
            ("a.b", "x", "a-b-x-"),
        ] {
            assert_eq!(generated(eligibility, who), name);
        }
        assert_eq!(generated(&"e".repeat(253), "ann").len(), MAX_GENERATED);
    }

    #[test]
    fn pasted_line_breaks_become_blanks_and_nothing_else_does() {
        let said = |text: &str| line::<64>("the reason", text).map(|line| line.to_string());
        for (text, stored) in
            [("INC-1\r\nshop is\tslow\n\n", "INC-1 shop is slow"), ("\nINC-1\n", "INC-1"), (" a  b ", " a  b "), ("\n", ""), ("", "")]
        {
            assert_eq!(said(text).unwrap(), stored);
        }
        for text in ["a\u{1b}[2J", "a\u{202e}b", "a\u{2028}b"] {
            assert!(said(text).unwrap_err().to_string().starts_with("the reason has the character U+"), "{text:?}");
        }
    }

    #[test]
    fn t01_what_is_stored_otherwise_than_it_was_sent_is_told() {
        let said = RequestValues { duration: Some("1h".parse().unwrap()), ..RequestValues::default() };
        let sent = request("edit", "shop", "ann", &said).unwrap();
        let mut stored = sent.clone();
        (stored.metadata.name, stored.spec.requester) = (Some("edit-ann-1".to_owned()), Some(api::Stamp::default()));
        assert!(is_stored(&sent, &stored).is_ok(), "the client does not set the stamp");
        stored.spec.duration = Some("8h".parse().unwrap());
        assert!(is_stored(&sent, &stored).unwrap_err().to_string().starts_with(
            "the cluster stored a different request than was sent, 'shop/edit-ann-1': spec.duration is \"8h\", but \"1h\" was sent;"
        ));
        let sent = decision(&stored, Verb::Deny, Some("no")).unwrap();
        let mut stored = sent.clone();
        stored.spec.decider = Some(api::Stamp::default());
        stored.spec.request_ref.requester = Some(line("who", "ann").unwrap());
        assert!(is_stored_decision(&sent, &stored).is_ok());
        let mut approve = stored.clone();
        approve.spec.decision = Verb::Approve;
        let mut another = stored.clone();
        another.spec.request_ref.name = "other".to_owned();
        for (changed, field) in [(approve, "spec.decision"), (another, "spec.requestRef")] {
            assert!(is_stored_decision(&sent, &changed).unwrap_err().to_string().contains(field));
        }
    }

    #[test]
    fn a_ticket_may_name_its_system() {
        let both = ticket("jira:INC-1").unwrap();
        assert_eq!((both.system.unwrap().as_str(), both.number.unwrap().as_str()), ("jira", "INC-1"));
        assert_eq!(ticket("INC-1").unwrap().system, None);
    }

    proptest! {
        #[test]
        fn a_generated_name_is_one_whoever_asks_for_whatever(eligibility in "[a-z0-9][a-z0-9.-]{0,252}", who in any::<String>()) {
            let name = generated(&eligibility, &who);
            prop_assert!(is_object_name(&name) && name.len() <= MAX_GENERATED && name.ends_with('-'), "{name}");
        }
    }
}
