//! Requests as comma-separated values (RFC 4180) without formulas that a spreadsheet would execute.

use jiff::Timestamp;
use kube::ResourceExt;
use unicode_normalization::UnicodeNormalization;

use super::{
    read::{created, requester, state},
    words,
};
use api::{RoleActivationRequest, RoleActivationRequestStatus, text::printable, timeline::TimelineEntry};
use domain::instant::stamp;

/// The columns. New ones are appended, since programs may read them by position.
const COLUMNS: &str = "namespace,name,user,eligibility,role,state,reason,requested,granted,expires,ended,approved_by,ticket,justification,\
                       emergency,review,reviewed_by,ended_by,end,comments,extends,groups";

/// A header and one line per request.
#[must_use]
pub fn lines(requests: &[RoleActivationRequest]) -> String {
    let mut lines = vec![COLUMNS.to_owned()];
    for request in requests {
        lines.push(fields(request).iter().map(|text| field(text)).collect::<Vec<_>>().join(","));
    }
    lines.join("\n")
}

fn fields(request: &RoleActivationRequest) -> [String; 22] {
    let status = request.status.clone().unwrap_or_default();
    let at = |time: Option<Timestamp>| time.map(stamp).unwrap_or_default();
    let review = status.review.as_ref();
    let end = end(&status);
    let comments = status.approvals.iter().filter_map(|approval| Some(format!("{}: {}", approval.approver, approval.comment.as_ref()?)));
    let groups = request.spec.requester.iter().flat_map(|stamp| &stamp.groups).map(ToString::to_string);
    [
        request.namespace().unwrap_or_default(),
        request.name_any(),
        requester(request).to_owned(),
        request.spec.eligibility_ref.name.clone(),
        words::role_name(request).to_owned(),
        state(request).to_string(),
        words::reason(request).to_owned(),
        at(Some(created(request))),
        at(status.granted_at),
        at(status.expires_at),
        at(status.ended_at),
        status.approved_by.clone().unwrap_or_default(),
        words::ticket(request).to_owned(),
        words::justification(request).to_owned(),
        request.spec.emergency.to_string(),
        review.map(|review| format!("{:?}", review.state)).unwrap_or_default(),
        review.and_then(|review| review.reviewed_by.as_ref()).map(ToString::to_string).unwrap_or_default(),
        end.map(|entry| entry.actor.to_string()).unwrap_or_default(),
        end.map(|entry| entry.message.to_string()).unwrap_or_default(),
        comments.collect::<Vec<_>>().join(" / "),
        request.spec.base().unwrap_or_default().to_owned(),
        groups.collect::<Vec<_>>().join(" "),
    ]
}

/// The timeline entry of the end, with its actor and message.
fn end(status: &RoleActivationRequestStatus) -> Option<&TimelineEntry> {
    let state = status.state.filter(|state| state.is_terminal())?;
    status.timeline.iter().rev().find(|entry| entry.event == state.as_str())
}

/// A text as one field. A quote is added before each part that a spreadsheet could interpret as a formula. With some locales, spreadsheets
/// also split lines at other characters than commas, and then the quotes around a field do not protect.
pub fn field(text: &str) -> String {
    let text = printable(text);
    let mut safe = String::with_capacity(text.len());
    let mut begins = true;
    for letter in text.chars() {
        // Full-width and other forms count as the normalized character.
        let plain = std::iter::once(letter).nfkc().next().unwrap_or(letter);
        if begins && matches!(plain, '=' | '+' | '-' | '@' | '\u{2212}') {
            safe.push('\'');
        }
        safe.push(letter);
        begins = match plain {
            ';' | ',' | '|' | ':' | '\u{fffd}' => true,
            '"' | '\'' => begins,
            other => begins && other.is_whitespace(),
        };
    }
    if safe.contains([',', '"', ';', '|']) { format!("\"{}\"", safe.replace('"', "\"\"")) } else { safe }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        let mut request = RoleActivationRequest::new("x", api::RoleActivationRequestSpec::default());
        request.spec.justification = api::Line::try_from(text.to_owned()).ok();
        lines(&[request])
    }

    #[test]
    fn t13_a_spreadsheet_runs_nothing_that_somebody_wrote() {
        let said = told("=HYPERLINK(\"http://evil\",\"x\")");
        assert!(said.contains(r#","'=HYPERLINK(""http://evil"",""x"")","#), "{said}");
    }

    #[test]
    fn f79_no_formula_passes_behind_a_separator_or_in_another_form() {
        for (text, becomes) in [
            ("=1", "'=1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\u{ff1d}1", "'\u{ff1d}1"),
            ("\u{ff0b}1", "'\u{ff0b}1"),
            ("\u{ff0d}1", "'\u{ff0d}1"),
            ("\u{ff20}1", "'\u{ff20}1"),
            ("\u{fe66}1", "'\u{fe66}1"),
            ("\u{2212}1", "'\u{2212}1"),
            (" =1", " '=1"),
            ("\u{a0}\u{3000}=1", "\u{a0}\u{3000}'=1"),
            ("\t=1", "\u{fffd}'=1"),
            ("\r=1", "\u{fffd}'=1"),
            ("a\t=1", "a\u{fffd}'=1"),
            ("a\n=1", "a\u{fffd}'=1"),
            ("x;=1", "\"x;'=1\""),
            ("x; =1", "\"x; '=1\""),
            ("x|@1", "\"x|'@1\""),
            ("x,=1", "\"x,'=1\""),
            ("x\u{ff1b}=1", "x\u{ff1b}'=1"),
            ("x;\"=1\"", "\"x;\"\"'=1\"\"\""),
            ("x;'=1", "\"x;''=1\""),
            // What is no formula stays as it is.
            ("a=1", "a=1"),
            ("INC-4711 a-b", "INC-4711 a-b"),
            ("look at a@b.example", "look at a@b.example"),
            ("x; y", "\"x; y\""),
        ] {
            assert_eq!(field(text), becomes, "{text:?}");
        }
    }

    #[test]
    fn every_line_has_as_many_fields_as_there_are_titles() {
        assert_eq!(fields(&RoleActivationRequest::new("x", api::RoleActivationRequestSpec::default())).len(), COLUMNS.split(',').count());
    }
}
