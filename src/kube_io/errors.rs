//! Formats errors of other libraries for users: one line each.

use std::error::Error;

use kube::client::AuthError;

use crate::redact::redacted;
use api::text::printable;

/// Returns an error with its causes, on one line and without secrets. An answer of the API server is reduced to message and code, a text of
/// several lines to its first line.
#[must_use]
pub fn one_line(error: &(dyn Error + 'static)) -> String {
    match error.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) => return answer(&status.message, status.code),
        Some(kube::Error::Service(inner)) => return one_line(inner.as_ref()),
        _ => {}
    }
    let mut parts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(inner) = next {
        if let Some(told) = inner.downcast_ref::<AuthError>().and_then(of_command) {
            parts.push(told);
            break;
        }
        let text = if holds_command(inner) { String::new() } else { first_line(&inner.to_string()) };
        if !text.is_empty() && !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
        next = inner.source();
    }
    parts.join(": ")
}

/// Returns an error and its causes. An I/O error does not return its inner error from `source`.
pub(crate) fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let current = next?;
        let within = current.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match within {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => current.source(),
        };
        Some(current)
    })
}

/// Returns the API server's answer.
fn answer(message: &str, code: u16) -> String {
    printable(&redacted(&format!("{message} ({code})")))
}

/// Returns a failed credential command without the command, which has an environment, and without its output, which may contain a token.
fn of_command(error: &AuthError) -> Option<String> {
    match error {
        AuthError::AuthExecRun { out, .. } => Some(format!("the command for credentials failed with {}", out.status)),
        AuthError::AuthExecParse(_) | AuthError::ParseTokenKey(_) => {
            Some("the command for credentials printed something that is not a credential".to_owned())
        }
        _ => None,
    }
}

/// True for an error whose text repeats such a command.
fn holds_command(error: &(dyn Error + 'static)) -> bool {
    matches!(error.downcast_ref::<kube::Error>(), Some(kube::Error::Auth(inner)) if of_command(inner).is_some())
}

/// Returns the first line, with doubly quoted paths quoted once.
fn first_line(text: &str) -> String {
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    printable(&redacted(line.trim()).replace("'\"", "'").replace("\"'", "'"))
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn an_answer_is_its_sentence_and_code() {
        let answer = || kube::Error::Api(Box::new(Status::failure("roles is forbidden\nfor you", "Forbidden").with_code(403)));
        assert_eq!(one_line(&answer()), "roles is forbidden\u{fffd}for you (403)");
    }

    #[test]
    fn f39_a_command_for_credentials_and_what_it_printed_are_not_told() {
        use std::os::unix::process::ExitStatusExt as _;
        let out = std::process::Output {
            status: std::process::ExitStatus::from_raw(256),
            stdout: b"{\"token\":\"S3cr3t\"}".to_vec(),
            stderr: b"S3cr3t".to_vec(),
        };
        let failed = AuthError::AuthExecRun { cmd: "AZURE=\"S3cr3t\" \"kubelogin\" \"S3cr3t\"".to_owned(), out: Box::new(out) };
        let error = kube::Error::Auth(failed);
        assert_eq!(one_line(&error), "the command for credentials failed with exit status: 1");
        let service = kube::Error::Service(Box::new(error));
        assert_eq!(one_line(&service), "the command for credentials failed with exit status: 1");
        let answer = kube::Error::Api(Box::new(Status::failure("bad header Authorization: Bearer S3cr3tS3cr3t", "x").with_code(400)));
        assert!(!one_line(&answer).contains("S3cr3t"));
        let other = std::io::Error::other("cannot use http://ann:S3cr3t@proxy:3128");
        assert_eq!(one_line(&other), "cannot use http://[redacted]@proxy:3128");
    }

    #[test]
    fn what_lies_behind_is_told_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot read '\"/nosuch\"': {0}")]
        struct Outer(#[source] std::io::Error);
        let error = Outer(std::io::Error::other("not there\nsecond line"));
        assert_eq!(one_line(&error), "cannot read '/nosuch': not there");
        let service = kube::Error::Service(Box::new(std::io::Error::other("refused")));
        assert_eq!(one_line(&service), "refused");
    }
}
