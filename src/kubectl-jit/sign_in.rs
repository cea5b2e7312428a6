//! Signs in again when a policy requires a newer or stronger sign-in, and retries.

use kube::config::ExecConfig;

use super::{paint::Paint, problem::Problem, prompt, session::Session};
use api::{Reason, text::printable};

/// True for a denial that another sign-in can change.
#[must_use]
pub const fn helps(problem: &Problem) -> bool {
    matches!(
        problem.reason(),
        Some(Reason::EvidenceMissing | Reason::EvidenceMismatch | Reason::EvidenceTooOld | Reason::EvidenceUnreadable)
    )
}

/// Prints why and how, waits for the user on a terminal, and reads the credentials again.
pub async fn again(session: &mut Session, problem: &Problem) -> Result<(), Problem> {
    session.screen.error(&problem.to_string());
    let how = session.credential_plugin().map_or_else(without_plugin, with_plugin);
    let how = session.screen.on_stderr(&how, Paint::Strong);
    session.screen.info(&format!("sign in again: {how}"));
    if session.screen.asks()
        && !prompt::confirm(&session.screen, "Signed in again? The request is then sent once more", "sign in again, then retry")?
    {
        return Err(Problem::Cancelled);
    }
    session.sign_in_again().await
}

/// The command of the common credential plugins. Their caches are not changed here.
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
        _ => printable(&format!("clear the credentials that '{program}' has cached")),
    }
}

fn without_plugin() -> String {
    "write a new token into your kubeconfig, which has no credential plugin".to_owned()
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
