//! When a policy asks for another sign-in than the present one: how to get it with what the kubeconfig uses, and once more.

use kube::config::ExecConfig;

use super::{paint::Paint, problem::Problem, prompt, session::Session};
use api::{Reason, text::printable};

/// True for a refusal that another sign-in can change.
#[must_use]
pub const fn helps(problem: &Problem) -> bool {
    matches!(
        problem.reason(),
        Some(Reason::EvidenceMissing | Reason::EvidenceMismatch | Reason::EvidenceTooOld | Reason::EvidenceUnreadable)
    )
}

/// Says why and how, waits for the person where there is one, and reads the credentials again.
pub async fn again(session: &mut Session, problem: &Problem) -> Result<(), Problem> {
    session.screen.error(&problem.to_string());
    let how = session.credential_plugin().map_or_else(without_plugin, with_plugin);
    let how = session.screen.beside(&how, Paint::Strong);
    session.screen.say(&format!("sign in again: {how}"));
    if session.screen.asks()
        && !prompt::agree(&session.screen, "Signed in again? Then it is tried once more", "sign in again, then ask again")?
    {
        return Err(Problem::BrokenOff);
    }
    session.sign_in_again().await
}

/// What the common credential plugins call it. Their caches are theirs: nothing is removed here.
fn with_plugin(exec: &ExecConfig) -> String {
    let command = exec.command.as_deref().unwrap_or_default();
    let program = std::path::Path::new(command).file_name().and_then(|name| name.to_str()).unwrap_or(command);
    let args = exec.args.clone().unwrap_or_default();
    let first = args.iter().find(|arg| !arg.starts_with('-')).map_or("", String::as_str);
    match (program, first) {
        ("kubectl", "oidc-login") | ("kubectl-oidc_login", _) => "kubectl oidc-login clean".to_owned(),
        ("kubelogin", "get-token") if args.iter().any(|arg| arg.starts_with("--server-id")) => "kubelogin remove-tokens".to_owned(),
        ("kubelogin", _) => "kubelogin clean".to_owned(),
        ("gke-gcloud-auth-plugin", _) => "gcloud auth login".to_owned(),
        ("aws" | "aws-iam-authenticator", _) => "aws sso login".to_owned(),
        ("tsh", _) => "tsh login --request-reason='...'".to_owned(),
        ("pinniped", _) => "remove the session that pinniped keeps (~/.config/pinniped/sessions.yaml)".to_owned(),
        _ => printable(&format!("take away what '{program}' remembers, so that it asks you again")),
    }
}

fn without_plugin() -> String {
    "get a new token into your kubeconfig: it has no credential plugin that could be asked".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_plugins_are_known_by_what_the_kubeconfig_runs() {
        let exec = |command: &str, args: &[&str]| ExecConfig {
            command: Some(command.to_owned()),
            args: Some(args.iter().map(|arg| (*arg).to_owned()).collect()),
            ..serde_json::from_value(serde_json::json!({})).unwrap()
        };
        assert_eq!(with_plugin(&exec("kubectl", &["oidc-login", "get-token"])), "kubectl oidc-login clean");
        assert_eq!(with_plugin(&exec("/usr/local/bin/kubelogin", &["get-token", "--server-id", "x"])), "kubelogin remove-tokens");
        assert_eq!(with_plugin(&exec("aws", &["--region", "eu", "eks", "get-token"])), "aws sso login");
        assert!(with_plugin(&exec("/opt/\u{1b}[2Jours", &[])).contains("ours"));
    }
}
