//! Credential plugins of kubeconfigs, executed as client-go executes them. Errors contain neither the command nor its output.

use std::{
    io::{BufRead as _, BufReader, ErrorKind, Read, Write as _},
    process::{Command, ExitStatus, Stdio},
    thread,
};

use jiff::Timestamp;
use kube::config::{ExecConfig, ExecInteractiveMode};
use serde::Deserialize;
use serde_json::json;

use crate::redact::redacted;
use api::text::printable;

/// Versions of the API between clients and credential plugins.
const VERSIONS: [&str; 2] = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];
/// Size limit of a credential on standard output.
const MOST_OUTPUT: u64 = 1 << 20;
/// Limits of the standard error that is shown: lines, and bytes of a line.
const MOST_LINES: usize = 200;
const LONGEST_LINE: u64 = 2_000;

/// Whether a user can answer the prompts of a credential plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stdin {
    /// A user at a terminal.
    Person,
    /// No user: a flag excludes prompts, or standard input is no terminal. Standard error is shown.
    Nobody,
    /// No user, and no reader of standard error: it becomes part of the error.
    Log,
}

/// The credential that a plugin returned.
pub struct Credential {
    /// The bearer token.
    pub token: Option<String>,
    /// Client certificate and key, in PEM.
    pub certificate: Option<(String, String)>,
    /// The expiry. `None` where the plugin reports none.
    pub expires: Option<Timestamp>,
}

/// Why a credential plugin returned no credential. The error contains no command line, environment or standard output.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CredentialError {
    /// The kubeconfig's entry cannot be used.
    #[error("{0}")]
    Entry(String),
    /// The program does not exist.
    #[error("credential plugin '{name}' was not found{hint}")]
    Absent {
        /// The program.
        name: String,
        /// The install hint of the kubeconfig.
        hint: String,
    },
    /// The program could not be started.
    #[error("credential plugin '{name}' cannot be run: {why}")]
    NotRun {
        /// The program.
        name: String,
        /// The cause.
        why: ErrorKind,
    },
    /// The program failed.
    #[error("credential plugin '{name}' {ended}{said}")]
    Failed {
        /// The program.
        name: String,
        /// The exit status.
        ended: String,
        /// The standard error, where it was not shown.
        said: String,
    },
    /// The output is not a credential.
    #[error("credential plugin '{name}' {why}")]
    Answer {
        /// The program.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// The plugin needs a user at a terminal.
    #[error("credential plugin '{name}' needs a terminal for its prompts (interactiveMode: Always), and {why}")]
    Unattended {
        /// The program.
        name: String,
        /// Why there is no terminal.
        why: &'static str,
    },
    /// The token is no valid HTTP header value.
    #[error("the token has characters that are not allowed in an HTTP header")]
    Unfit,
    /// The caller stopped waiting for the plugin.
    #[error("the credential plugin was interrupted")]
    Interrupted,
}

/// A credential plugin of a kubeconfig.
pub struct Plugin {
    /// The entry in the kubeconfig.
    pub exec: ExecConfig,
    /// Whether a user can answer its prompts.
    pub stdin: Stdin,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "apiVersion")]
    api_version: Option<String>,
    kind: Option<String>,
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default, deserialize_with = "api::instant::deserialize")]
    expiration_timestamp: Option<Timestamp>,
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
}

impl Plugin {
    /// Runs the plugin until it exits, without a time limit.
    ///
    /// # Errors
    ///
    /// The program does not exist, it failed, or its output is not a credential.
    pub fn run(&self) -> Result<Credential, CredentialError> {
        let version = self.exec.api_version.as_deref().unwrap_or_default();
        let Some(version) = VERSIONS.into_iter().find(|known| *known == version) else {
            let why =
                format!("the user's exec entry has the invalid apiVersion '{}': it must be {}", shown(version), VERSIONS.join(" or "));
            return Err(CredentialError::Entry(why));
        };
        let interactive = self.is_interactive()?;
        let mut child = self.command(version, interactive)?.spawn().map_err(|error| self.not_run(&error))?;
        let says = self.stdin;
        let stderr = child.stderr.take().map(|stderr| thread::spawn(move || listen(stderr, says)));
        let output = child.stdout.take().map(read).unwrap_or_default();
        let ended = child.wait().map_err(|error| self.not_run(&error))?;
        let said = stderr.and_then(|stderr| stderr.join().ok()).unwrap_or_default();
        if !ended.success() {
            let how = match (ended.code(), signal(ended)) {
                (Some(code), _) => format!("failed with exit code {code}"),
                (None, signal) => format!("was terminated by signal {}", signal.unwrap_or_default()),
            };
            let said = if said.is_empty() { said } else { format!(": {said}") };
            return Err(CredentialError::Failed { name: self.name(), ended: how, said });
        }
        self.understood(&output, version)
    }

    /// The program's name in the kubeconfig.
    fn name(&self) -> String {
        shown(self.exec.command.as_deref().unwrap_or_default())
    }

    fn not_run(&self, error: &std::io::Error) -> CredentialError {
        let name = self.name();
        if error.kind() != ErrorKind::NotFound {
            return CredentialError::NotRun { name, why: error.kind() };
        }
        let hint = self.exec.install_hint.as_deref().map(|hint| shown(&hint.split_whitespace().collect::<Vec<_>>().join(" ")));
        CredentialError::Absent { name, hint: hint.filter(|hint| !hint.is_empty()).map(|hint| format!(": {hint}")).unwrap_or_default() }
    }

    fn is_interactive(&self) -> Result<bool, CredentialError> {
        let attended = self.stdin == Stdin::Person;
        match self.exec.interactive_mode {
            Some(ExecInteractiveMode::Never) => Ok(false),
            None | Some(ExecInteractiveMode::IfAvailable) => Ok(attended),
            Some(ExecInteractiveMode::Always) if attended => Ok(true),
            Some(ExecInteractiveMode::Always) => {
                use std::io::IsTerminal as _;
                let why = if std::io::stdin().is_terminal() {
                    "prompts are disabled (--non-interactive)"
                } else {
                    "standard input is not a terminal"
                };
                Err(CredentialError::Unattended { name: self.name(), why })
            }
        }
    }

    fn command(&self, version: &str, interactive: bool) -> Result<Command, CredentialError> {
        let program = self.exec.command.as_deref().filter(|program| !program.is_empty());
        let program = program.ok_or_else(|| CredentialError::Entry("the user's exec entry names no command".to_owned()))?;
        let mut command = Command::new(program);
        command.args(self.exec.args.iter().flatten());
        for variable in self.exec.env.iter().flatten() {
            if let (Some(name), Some(value)) = (variable.get("name"), variable.get("value"))
                && !name.is_empty()
                && !name.contains(['=', '\0'])
            {
                command.env(name, value);
            }
        }
        let mut spec = json!({ "interactive": interactive });
        if let Some(cluster) = self.exec.cluster.as_ref().filter(|_| self.exec.provide_cluster_info)
            && let Some(spec) = spec.as_object_mut()
        {
            let cluster = serde_json::to_value(cluster).map_err(|error| CredentialError::Entry(error.to_string()))?;
            spec.insert("cluster".to_owned(), cluster);
        }
        let info = json!({"apiVersion": version, "kind": "ExecCredential", "spec": spec});
        command.env("KUBERNETES_EXEC_INFO", info.to_string()).stdout(Stdio::piped());
        if interactive {
            command.stdin(Stdio::inherit()).stderr(Stdio::inherit());
        } else {
            command.stdin(Stdio::null()).stderr(Stdio::piped());
        }
        Ok(command)
    }

    fn understood(&self, output: &[u8], version: &str) -> Result<Credential, CredentialError> {
        let wrong = |why: &str| CredentialError::Answer { name: self.name(), why: why.to_owned() };
        // Output that cannot be parsed may contain the token, so the error contains none of it.
        let answer: Answer = serde_saphyr::from_slice(output).map_err(|_| wrong("printed something other than an ExecCredential"))?;
        if answer.kind.as_deref() != Some("ExecCredential") {
            return Err(wrong("printed something other than an ExecCredential"));
        }
        if answer.api_version.as_deref() != Some(version) {
            return Err(wrong(&format!("answered in another apiVersion than {version}")));
        }
        let status = answer.status.ok_or_else(|| wrong("returned no status"))?;
        let some = |text: Option<String>| text.filter(|text| !text.is_empty());
        let token = some(status.token);
        let certificate = match (some(status.client_certificate_data), some(status.client_key_data)) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(wrong("returned only one of certificate and key")),
        };
        if token.is_none() && certificate.is_none() {
            return Err(wrong("returned neither a token nor a certificate"));
        }
        Ok(Credential { token, certificate, expires: status.expiration_timestamp })
    }
}

/// Returns text of another program, truncated and safe to show.
fn shown(text: &str) -> String {
    let cut: String = text.chars().take(300).collect();
    redacted(&printable(&cut)).into_owned()
}

/// Reads all output up to a limit. Longer output is truncated, and then fails to parse.
fn read(from: impl Read) -> Vec<u8> {
    let mut read = Vec::new();
    let mut from = from.take(MOST_OUTPUT);
    // Output that ends with an error fails to parse.
    let _ = from.read_to_end(&mut read);
    read
}

/// Reads standard error to its end. It is shown line by line, or returned.
fn listen(from: impl Read, stdin: Stdin) -> String {
    let mut from = BufReader::new(from);
    let mut kept = Vec::new();
    let mut lines = 0;
    loop {
        let mut line = Vec::new();
        match from.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        lines += 1;
        let line = String::from_utf8_lossy(&line);
        let line = shown_line(line.trim_end());
        if lines > MOST_LINES || line.is_empty() {
            continue;
        }
        if stdin == Stdin::Log {
            kept.push(line);
        } else {
            let _ = writeln!(std::io::stderr().lock(), "{line}");
        }
    }
    shown(&kept.join(" "))
}

fn shown_line(line: &str) -> String {
    redacted(&printable(line)).into_owned()
}

/// The signal that ended a command; there are none on Windows.
#[cfg_attr(not(unix), expect(unused_variables))]
fn signal(ended: ExitStatus) -> Option<i32> {
    #[cfg(unix)]
    return std::os::unix::process::ExitStatusExt::signal(&ended);
    #[cfg(not(unix))]
    return None;
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "S3cr3t";

    fn plugin(script: &str, change: impl FnOnce(&mut ExecConfig)) -> Plugin {
        let mut exec: ExecConfig = serde_json::from_value(json!({
            "apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/sh", "args": ["-c", script, "sh", "--client-secret", "S3cr3t-in-args"],
            "env": [{"name": "AZURE_CLIENT_SECRET", "value": "S3cr3t-in-env"}], "interactiveMode": "IfAvailable",
        }))
        .unwrap();
        change(&mut exec);
        Plugin { exec, stdin: Stdin::Log }
    }

    fn failed(script: &str) -> String {
        plugin(script, |_| ()).run().err().map(|error| format!("{error} {error:?}")).unwrap_or_default()
    }

    #[test]
    fn f39_a_failure_tells_name_code_and_standard_error_only() {
        let said = failed("echo '{\"status\":{\"token\":\"S3cr3t-in-stdout\"}}'; echo \"cannot sign in\" >&2; exit 7");
        assert!(said.starts_with("credential plugin '/bin/sh' failed with exit code 7: cannot sign in "), "{said}");
        assert!(!said.contains(SECRET), "{said}");
        let said = failed("echo 'password=S3cr3t \u{1b}[2Jand Bearer S3cr3tS3cr3t' >&2; kill -9 $$");
        assert!(said.contains("was terminated by signal 9") && said.contains("password=[redacted]"), "{said}");
        assert!(!said.contains(SECRET) && !said.contains('\u{1b}'), "{said}");
    }

    #[test]
    fn f39_what_cannot_be_understood_is_not_told() {
        for (prints, says) in [
            ("S3cr3t", "something other than an ExecCredential"),
            (
                r#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":["S3cr3t"]}}"#,
                "something other",
            ),
            (r#"{"apiVersion":"v1","kind":"Secret","data":{"token":"S3cr3t"}}"#, "something other"),
            (
                r#"{"apiVersion":"client.authentication.k8s.io/v1beta1","kind":"ExecCredential","status":{"token":"S3cr3t"}}"#,
                "another apiVersion",
            ),
            (r#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential"}"#, "no status"),
            (r#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":""}}"#, "neither a token nor"),
            (
                r#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"clientKeyData":"S3cr3t"}}"#,
                "only one of certificate and key",
            ),
        ] {
            let said = failed(&format!("printf '%s' '{prints}'"));
            assert!(said.contains(says) && !said.contains(SECRET), "{prints}: {said}");
        }
    }

    #[test]
    fn f39_a_program_that_is_not_there_is_named_with_its_hint() {
        let absent = plugin("", |exec| {
            exec.command = Some("/no/such/kubelogin".to_owned());
            exec.install_hint = Some("brew install\n\u{1b}[2Jkubelogin".to_owned());
        });
        let said = absent.run().err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(said, "credential plugin '/no/such/kubelogin' was not found: brew install \u{fffd}[2Jkubelogin");
    }

    #[test]
    fn f62_a_plugin_hears_whether_somebody_can_answer() {
        let gives = r#"printf '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"'; printf '%s' "$KUBERNETES_EXEC_INFO" | tr -d '"'; printf '"}}'"#;
        let told = |mode: Option<ExecInteractiveMode>, stdin: Stdin| {
            let plugin = Plugin { stdin, ..plugin(gives, |exec| exec.interactive_mode = mode) };
            plugin.run().map(|credential| credential.token.unwrap_or_default()).map_err(|error| error.to_string())
        };
        for (mode, stdin, interactive) in [
            (Some(ExecInteractiveMode::Never), Stdin::Person, false),
            (Some(ExecInteractiveMode::IfAvailable), Stdin::Person, true),
            (None, Stdin::Person, true),
            (Some(ExecInteractiveMode::Always), Stdin::Person, true),
            (Some(ExecInteractiveMode::IfAvailable), Stdin::Nobody, false),
            (None, Stdin::Log, false),
        ] {
            let said = told(mode.clone(), stdin).unwrap();
            assert!(said.contains(&format!("interactive:{interactive}")), "{mode:?} {stdin:?}: {said}");
        }
        let refused = told(Some(ExecInteractiveMode::Always), Stdin::Nobody);
        assert!(refused.as_ref().is_err_and(|why| why.contains("needs a terminal for its prompts")), "{refused:?}");
    }

    #[test]
    fn f39_a_plugin_that_prints_without_end_ends() {
        let said = failed("yes S3cr3t");
        assert!(!said.is_empty() && !said.contains(SECRET), "{said}");
    }
}
