//! The flags of every command: those of kubectl, and those for printing.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use super::screen::{Colour, OutputSettings};

const KUBECTL: &str = "Flags of kubectl";
const PRINTING: &str = "Printing";

/// Flags of every command.
#[derive(Clone, Debug, Default, Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct Flags {
    /// The kubeconfig file; defaults to $KUBECONFIG or ~/.kube/config.
    #[arg(long, global = true, value_name = "FILE", help_heading = KUBECTL)]
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig.
    #[arg(long, global = true, value_name = "NAME", help_heading = KUBECTL)]
    pub context: Option<String>,
    /// The cluster of the kubeconfig.
    #[arg(long, global = true, value_name = "NAME", help_heading = KUBECTL)]
    pub cluster: Option<String>,
    /// The user of the kubeconfig.
    #[arg(long, global = true, value_name = "NAME", help_heading = KUBECTL)]
    pub user: Option<String>,
    /// The namespace; defaults to the context's. Can be repeated where a command supports several.
    #[arg(short, long = "namespace", global = true, value_name = "NAMESPACE", help_heading = KUBECTL)]
    pub namespaces: Vec<String>,
    /// Act as this user; needs permission to impersonate.
    #[arg(long = "as", global = true, value_name = "USER", help_heading = KUBECTL)]
    pub act_as: Option<String>,
    /// Act as a member of this group; can be repeated.
    #[arg(long = "as-group", global = true, value_name = "GROUP", help_heading = KUBECTL)]
    pub act_as_groups: Vec<String>,
    /// Act as the user with this UID.
    #[arg(long = "as-uid", global = true, value_name = "UID", help_heading = KUBECTL)]
    pub act_as_uid: Option<String>,
    /// Act with this extra attribute of a user, as KEY=VALUE; can be repeated, also for several values of a key.
    #[arg(long = "as-user-extra", global = true, value_name = "KEY=VALUE", value_parser = user_extra, help_heading = KUBECTL)]
    pub act_as_extra: Vec<(String, String)>,
    /// Bearer token instead of the kubeconfig's credentials.
    #[arg(long, global = true, value_name = "TOKEN", hide_env_values = true, help_heading = KUBECTL)]
    pub token: Option<String>,
    /// Address of the API server.
    #[arg(short = 's', long, global = true, value_name = "URL", help_heading = KUBECTL)]
    pub server: Option<String>,
    /// File with the certificate authority of the API server.
    #[arg(long, global = true, value_name = "FILE", help_heading = KUBECTL)]
    pub certificate_authority: Option<String>,
    /// File with a client certificate.
    #[arg(long, global = true, value_name = "FILE", help_heading = KUBECTL)]
    pub client_certificate: Option<String>,
    /// File with the key of the client certificate.
    #[arg(long, global = true, value_name = "FILE", help_heading = KUBECTL)]
    pub client_key: Option<String>,
    /// Server name to verify in the API server's certificate.
    #[arg(long, global = true, value_name = "NAME", help_heading = KUBECTL)]
    pub tls_server_name: Option<String>,
    /// Do not verify the API server's certificate.
    #[arg(long, global = true, help_heading = KUBECTL)]
    pub insecure_skip_tls_verify: bool,
    /// Timeout of one call, for example 10s; 0: no timeout.
    #[arg(long, global = true, value_name = "TIME", default_value = "0", value_parser = request_timeout, help_heading = KUBECTL)]
    pub request_timeout: Duration,

    /// Colorize output; honors NO_COLOR.
    #[arg(long, global = true, value_enum, default_value_t = Colour::Auto, value_name = "WHEN", help_heading = PRINTING)]
    pub color: Colour,
    /// The same as --color=never.
    #[arg(long, global = true, help_heading = PRINTING)]
    pub no_color: bool,
    /// Print only data and errors.
    #[arg(short, long, global = true, help_heading = PRINTING)]
    pub quiet: bool,
    /// Print times in UTC instead of the local time zone.
    #[arg(long, global = true, help_heading = PRINTING)]
    pub utc: bool,
    /// Never prompt for input; a missing value is an error.
    #[arg(long, global = true, env = "KUBECTL_JIT_NON_INTERACTIVE", value_parser = clap::builder::FalseyValueParser::new(), help_heading = PRINTING)]
    pub non_interactive: bool,
    /// Print tables without headers.
    #[arg(long, global = true, help_heading = PRINTING)]
    pub no_headers: bool,
}

impl Flags {
    /// The settings for printing.
    #[must_use]
    pub const fn output_settings(&self) -> OutputSettings {
        OutputSettings {
            colour: if self.no_color { Colour::Never } else { self.color },
            quiet: self.quiet,
            silent: self.non_interactive,
            utc: self.utc,
            bare: self.no_headers,
        }
    }
}

impl Flags {
    /// The same flags for a kubectl process with the same user.
    #[must_use]
    pub fn for_kubectl(&self) -> Vec<String> {
        let mut all = self.cluster_and_user();
        let secret = [
            ("--token", &self.token),
            ("--certificate-authority", &self.certificate_authority),
            ("--client-certificate", &self.client_certificate),
            ("--client-key", &self.client_key),
            ("--tls-server-name", &self.tls_server_name),
        ];
        all.extend(secret.into_iter().filter_map(|(flag, value)| value.as_ref().map(|value| format!("{flag}={value}"))));
        if let [namespace] = self.namespaces.as_slice() {
            all.push(format!("--namespace={namespace}"));
        }
        all.extend(self.insecure_skip_tls_verify.then(|| "--insecure-skip-tls-verify".to_owned()));
        all
    }

    /// The flags that select the cluster and the user, for a command that a user may copy: without them it would use another cluster or
    /// user. Never includes the token.
    #[must_use]
    pub fn cluster_and_user(&self) -> Vec<String> {
        let file = self.kubeconfig.as_ref().map(|path| path.display().to_string());
        let mut all: Vec<String> = [
            ("--kubeconfig", &file),
            ("--context", &self.context),
            ("--cluster", &self.cluster),
            ("--user", &self.user),
            ("--server", &self.server),
            ("--as", &self.act_as),
            ("--as-uid", &self.act_as_uid),
        ]
        .into_iter()
        .filter_map(|(flag, value)| value.as_ref().map(|value| format!("{flag}={value}")))
        .collect();
        all.extend(self.act_as_groups.iter().map(|group| format!("--as-group={group}")));
        all.extend(self.act_as_extra.iter().map(|(key, value)| format!("--as-user-extra={key}={value}")));
        all
    }
}

/// A word of a command line, quoted for a shell.
#[must_use]
pub fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_=./:@%+,".contains(letter);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

/// The output format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// A table.
    #[default]
    Table,
    /// A table with more columns.
    Wide,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// kind.group/name, one per line.
    Name,
}

/// The flag `-o` of commands that print objects.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct Output {
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = Form::Table, value_name = "FORMAT")]
    pub output: Form,
}

impl Output {
    /// True with `-o wide`.
    #[must_use]
    pub fn is_wide(self) -> bool {
        self.output == Form::Wide
    }

    /// True for a table.
    #[must_use]
    pub fn is_table(self) -> bool {
        matches!(self.output, Form::Table | Form::Wide)
    }
}

/// An extra attribute of an impersonated user.
fn user_extra(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("use KEY=VALUE, for example reason=incident".to_owned()),
    }
}

/// A duration in Go's syntax, or plain seconds as in kubectl's `--request-timeout`.
pub fn request_timeout(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<u32>() {
        return Ok(Duration::from_secs(u64::from(seconds)));
    }
    patience(text)
}

/// A waiting time.
pub fn patience(text: &str) -> Result<Duration, String> {
    text.parse::<api::Duration>().map(|length| Duration::from_secs(u64::from(length.as_secs()))).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_to_copy_is_about_the_same_cluster_and_user_and_holds_no_token() {
        let some = |text: &str| Some(text.to_owned());
        let flags = Flags { context: some("prod eu"), act_as: some("ann"), token: some("secret"), ..Flags::default() };
        let words: Vec<String> = flags.cluster_and_user().iter().map(|word| quoted(word)).collect();
        assert_eq!(words, ["'--context=prod eu'", "--as=ann"]);
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert!(flags.for_kubectl().contains(&"--token=secret".to_owned()));
    }

    #[test]
    fn f72_an_extra_is_a_key_and_a_value() {
        assert_eq!(user_extra("a.example/b=c=d"), Ok(("a.example/b".to_owned(), "c=d".to_owned())));
        assert_eq!(user_extra("a="), Ok(("a".to_owned(), String::new())));
        assert!(user_extra("a").is_err() && user_extra("=b").is_err());
        let flags = Flags { act_as_extra: vec![("a".to_owned(), "b c".to_owned())], ..Flags::default() };
        assert_eq!(flags.cluster_and_user(), ["--as-user-extra=a=b c"]);
    }

    #[test]
    fn times_are_as_kubectl_takes_them() {
        assert_eq!(request_timeout("0"), Ok(Duration::ZERO));
        assert_eq!(request_timeout("15"), Ok(Duration::from_secs(15)));
        assert_eq!(request_timeout("1m30s"), Ok(Duration::from_secs(90)));
        assert!(request_timeout("soon").is_err() && patience("-5s").is_err() && patience("").is_err());
    }
}
