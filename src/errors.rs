//! Errors of others, for people: one line each.

use std::error::Error;

use kube::runtime::watcher;

use crate::api::text::printable;

/// An error with what lies behind it, on one line. Of an answer of the API server it is the sentence and the code, of a text of
/// several lines the first.
#[must_use]
pub fn one_line(error: &(dyn Error + 'static)) -> String {
    if let Some(error) = error.downcast_ref::<watcher::Error>() {
        return watch(error);
    }
    match error.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) => return printable(&format!("{} ({})", status.message, status.code)),
        Some(kube::Error::Service(inner)) => return one_line(inner.as_ref()),
        _ => {}
    }
    let mut parts = vec![first_line(&error.to_string())];
    let mut source = error.source();
    while let Some(inner) = source {
        let text = first_line(&inner.to_string());
        if !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
        source = inner.source();
    }
    parts.join(": ")
}

fn watch(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error) => format!("cannot list: {}", one_line(error)),
        watcher::Error::WatchStartFailed(error) => format!("cannot watch: {}", one_line(error)),
        watcher::Error::WatchError(status) => printable(&format!("{} ({})", status.message, status.code)),
        watcher::Error::WatchFailed(error) => one_line(error),
        watcher::Error::NoResourceVersion => first_line(&error.to_string()),
    }
}

/// The first line, with paths that were quoted twice quoted once.
fn first_line(text: &str) -> String {
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    printable(&line.trim().replace("'\"", "'").replace("\"'", "'"))
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn an_answer_is_its_sentence_and_code() {
        let answer = || kube::Error::Api(Box::new(Status::failure("roles is forbidden\nfor you", "Forbidden").with_code(403)));
        assert_eq!(one_line(&answer()), "roles is forbidden\u{fffd}for you (403)");
        assert_eq!(one_line(&watcher::Error::InitialListFailed(answer())), "cannot list: roles is forbidden\u{fffd}for you (403)");
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
