//! Removes secrets from texts of other programs, so that they reach neither a terminal nor a log.
//!
//! Errors are built without secrets. This is the second layer: every error and every log line passes through it.

use std::{
    borrow::Cow,
    io::{self, Write},
    sync::LazyLock,
};

use regex::Regex;

/// The replacement for a secret.
const REDACTED: &str = "[redacted]";

/// The patterns and their replacements. The order matters: whole values come before parts of them.
static PATTERNS: LazyLock<Vec<(Regex, String)>> = LazyLock::new(|| {
    let secret = r"[A-Za-z0-9_.-]*(?:token|passw(?:or)?d|passphrase|secret|api[_-]?key|private[_-]?key|access[_-]?key|credential|authorization)[A-Za-z0-9_-]*";
    [
        (r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)".to_owned(), REDACTED.to_owned()),
        (r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}".to_owned(), format!("$1 {REDACTED}")),
        (r"\beyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)*".to_owned(), REDACTED.to_owned()),
        // User name and password in an address.
        (r#"(?i)\b([a-z][a-z0-9+.-]*://)[^\s/"'\\]+@"#.to_owned(), format!("${{1}}{REDACTED}@")),
        // NAME=value, as in environments and command lines, and "name":"value", as in JSON and YAML.
        // The quotes stay: without them a line of JSON would be none any more.
        (format!(r#"(?i)\b({secret}\\?["']?\s*[=:]\s*\\?")[^"]*?(\\?")"#), format!("${{1}}{REDACTED}${{2}}")),
        (format!(r#"(?i)\b({secret}\\?["']?\s*[=:]\s*')[^']*(')"#), format!("${{1}}{REDACTED}${{2}}")),
        (format!(r#"(?i)\b({secret}\\?["']?\s*=\s*)[^\s,;&"'\\\])}}]+"#), format!("${{1}}{REDACTED}")),
    ]
    .into_iter()
    .filter_map(|(pattern, replacement)| Some((Regex::new(&pattern).ok()?, replacement)))
    .collect()
});

/// Returns `text` without what looks like a secret: tokens, passwords, keys, and user names and passwords in addresses.
#[must_use]
pub fn redacted(text: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text);
    for (pattern, replacement) in PATTERNS.iter() {
        if let Cow::Owned(changed) = pattern.replace_all(&text, replacement.as_str()) {
            text = Cow::Owned(changed);
        }
    }
    text
}

/// A writer of whole log lines that removes secrets.
#[derive(Debug)]
pub struct Redacting<W>(pub W);

impl<W: Write> Write for Redacting<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(redacted(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every secret in these texts contains this.
    const SECRET: &str = "S3cr3t";

    #[test]
    fn f39_no_secret_is_left() {
        assert_eq!(PATTERNS.len(), 7, "a pattern is not valid");
        for text in [
            r#"auth exec command 'AZURE_CLIENT_SECRET="S3cr3t word" /bin/x "--password=S3cr3t"' failed"#,
            r#"stdout: "{\"status\":{\"token\":\"S3cr3t\"}}""#,
            r#"{"token": "S3cr3t", "clientKeyData": "-----BEGIN EC PRIVATE KEY-----\nS3cr3t\n-----END EC PRIVATE KEY-----"}"#,
            "Authorization: Bearer S3cr3tS3cr3t",
            "authorization: \"S3cr3t\"",
            "header Basic dXNlcjpTS3cr3tM=",
            "cannot use proxy http://ann:S3cr3t@proxy:3128/x",
            "cannot use proxy socks5://ann:S3@cr3tS3cr3t@proxy:1080",
            "eyJhbGciOiJIUzI1NiJ9.S3cr3tyJhIjoxfQ.S3cr3t",
            "id_token=S3cr3t&refresh_token=S3cr3t",
            "--token=S3cr3t",
            "password: 'S3cr3t'",
        ] {
            let said = redacted(text);
            assert!(!said.contains(SECRET) && said.contains(REDACTED), "{text}: {said}");
        }
    }

    #[test]
    fn f39_ordinary_sentences_stay_as_they_are() {
        for text in [
            r#"secrets "ca-bundle" is forbidden: User "ann" cannot get resource "secrets" in API group "" in the namespace "prod" (403)"#,
            "invalid bearer token: it has expired",
            "serviceaccounts/token: create is not allowed",
            "'kubectl' does not hear of --token, --client-key: where it talks to a cluster, give it the same itself",
            "the connection to the server https://10.0.0.1:6443 was refused",
            "RiskNotAccepted: ServiceAccountTokens, Secrets",
            "kubectl jit get inc-4711 -n payments --context=prod",
        ] {
            assert_eq!(redacted(text), text);
        }
    }

    #[test]
    fn f39_a_log_line_stays_one_line_of_json() {
        let mut said = Vec::new();
        let line = "{\"level\":\"ERROR\",\"why\":\"failed: env PASSWORD=\\\"S3cr3t\\\" token S3cr3t\",\"token\":\"S3cr3t\"}\n";
        let line = line.replace("token S3cr3t\"", "at http://a:S3cr3t@b\"");
        Redacting(&mut said).write_all(line.as_bytes()).unwrap();
        let said = String::from_utf8(said).unwrap();
        assert!(!said.contains(SECRET), "{said}");
        let entry: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert_eq!(entry["token"], REDACTED);
        assert_eq!(entry["why"], "failed: env PASSWORD=\"[redacted]\" at http://[redacted]@b");
    }
}
