//! Kubeconfigs as kubectl reads them: credential plugins that fail or count their runs, proxies, addresses, names that do not exist.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::{ended, plugin, sign_in::machine};
use crate::{
    ensure,
    env::{Env, Error, Outcome, SOON, Scene, TestCase, automatic, eligibility},
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![
        f39_plugin_prints_no_secret_of_a_failing_credential_plugin,
        f39_operator_logs_no_secret_of_a_failing_credential_plugin,
        f62_plugin_runs_the_credential_plugin_once_per_command,
        f40_plugin_uses_the_same_proxies_as_kubectl,
        f33_plugin_reports_kubeconfig_errors,
        f63_plugin_reports_unusable_keys,
        f72_plugin_impersonates_extras_as_kubectl_does,
    ]
}

/// A secret in the plugin's environment, arguments and output.
const SECRET: &str = "S3cr3t";

/// An unused key on P-521, and a certificate for it: neither the tests' library for keys nor the product supports that curve.
const P521_KEY: &str = "-----BEGIN PRIVATE KEY-----
MIHuAgEAMBAGByqGSM49AgEGBSuBBAAjBIHWMIHTAgEBBEIA3Z5mKybETHWeE1Pb
lSqXu09WFXfLUUPfEBIRdH+HnZbX4neDm8otyeB0/AAT+x7zTVoWNhBu21IJlp2p
nguvk/OhgYkDgYYABAER9hDKOA/PwHWkjgW8ad/+KVs+wrkMthAZ/9fB4o1mmM0I
5DL+JtfxpARcnneVqB2hmOGSDjWqEgBPaMHuDlXYlwA/a7ZpvEgAVJbE219V8s20
AY2/vkOVV22hXNT3ZtgmR9NyfXwfHCJxkTNglWdCvOI/iOlGa6u7PFXNXLT4uxME
zg==
-----END PRIVATE KEY-----
";
const P521_CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----
MIIB+jCCAVygAwIBAgIUaevU1GH8ErXYFZPFQoDvnaxDKbcwCgYIKoZIzj0EAwIw
DjEMMAoGA1UEAwwDZGV2MCAXDTI2MTEzMDA4NDgxMFoYDzIxMjYxMTA2MDg0ODEw
WjAOMQwwCgYDVQQDDANkZXYwgZswEAYHKoZIzj0CAQYFK4EEACMDgYYABAER9hDK
OA/PwHWkjgW8ad/+KVs+wrkMthAZ/9fB4o1mmM0I5DL+JtfxpARcnneVqB2hmOGS
DjWqEgBPaMHuDlXYlwA/a7ZpvEgAVJbE219V8s20AY2/vkOVV22hXNT3ZtgmR9Ny
fXwfHCJxkTNglWdCvOI/iOlGa6u7PFXNXLT4uxMEzqNTMFEwHQYDVR0OBBYEFMae
HQn/S71UVkXe1DmtJyAdquSpMB8GA1UdIwQYMBaAFMaeHQn/S71UVkXe1DmtJyAd
quSpMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDgYsAMIGHAkIBxOHGoxDs
DpVTFDRoc7GL7yl4cBiQ2fQgg6iZsFw5Z3Xte5kzzYCb2kmFGto3cn3S/IcdpawJ
NOVQu/ExZ9QlBj0CQWAzUvIj9oIO/S0dLbVX1mv5Oun31RVE+G8lvKihaSjHv42N
t23Pk/RTSyLBCyycQPAb82c1IwP8MWBZuLbg4YBK
-----END CERTIFICATE-----
";

/// Every command with its required arguments, as a user might call it.
const COMMANDS: [&[&str]; 29] = [
    &["roles"],
    &["roles", "-o", "json"],
    &["describe", "x"],
    &["can-i", "x"],
    &["activate", "x", "-r", "why", "--wait"],
    &["run", "x", "--", "true"],
    &["status"],
    &["status", "-w"],
    &["wait", "x", "--timeout", "1s"],
    &["get", "x", "-o", "yaml"],
    &["list", "-A"],
    &["pending", "-w"],
    &["approve", "x", "--yes"],
    &["deny", "x", "-m", "no"],
    &["extend", "x"],
    &["deactivate", "x"],
    &["revoke", "x", "-m", "no", "--yes"],
    &["review", "x", "-m", "noted"],
    &["history", "-o", "csv"],
    &["record", "check", "--log", "x", "--key", "x"],
    &["whoami"],
    &["whoami", "-o", "json"],
    &["whoami", "--prompt"],
    &["unblock", "--", "get", "pods"],
    &["check"],
    &["notify", "test", "x"],
    &["notify", "preview", "x"],
    &["version"],
    &["__complete", "activate", ""],
];

/// A kubeconfig of `dev` whose parts a test changes.
fn kubeconfig(scene: &Scene, name: &str, change: impl FnOnce(&mut Value)) -> Result<PathBuf, Error> {
    let path = scene.fixture.cluster().kubeconfig_of("dev")?;
    let mut config: Value = serde_json::from_slice(&fs::read(path)?)?;
    change(&mut config);
    let path = machine(scene)?.join(name);
    fs::write(&path, config.to_string())?;
    Ok(path)
}

/// A program on the user's machine.
fn script(scene: &Scene, name: &str, text: &str) -> Result<PathBuf, Error> {
    let program = machine(scene)?.join(name);
    fs::write(&program, format!("#!/bin/sh\n{text}\n"))?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    Ok(program)
}

/// A kubeconfig whose user has a credential plugin with a secret in every possible field.
fn with_plugin(scene: &Scene, name: &str, program: &Path) -> Result<PathBuf, Error> {
    let exec = json!({
        "apiVersion": "client.authentication.k8s.io/v1", "command": program, "args": ["get-token", format!("--client-secret={SECRET}-arg")],
        "env": [{"name": "AZURE_CLIENT_SECRET", "value": format!("{SECRET}-env")}, {"name": "OTHER", "value": format!("{SECRET}-other")}],
        "interactiveMode": "IfAvailable",
    });
    kubeconfig(scene, name, |config| config["users"][0]["user"] = json!({ "exec": exec }))
}

/// Returns the output of a command with this environment, on both streams, and its exit code.
async fn jit(scene: &Scene, config: &Path, args: &[&str], env: &[(&str, &str)]) -> Result<(i32, String), Error> {
    let (before, after) = args.split_at(args.iter().position(|arg| *arg == "--").unwrap_or(args.len()));
    let path = config.display().to_string();
    let mut command = scene.fixture.cluster().program("dev", plugin())?;
    command.args(before).args(["-n", &scene.name, "--kubeconfig", &path]).args(after).stdin(Stdio::null());
    if before.first() == Some(&"__complete") {
        command = scene.fixture.cluster().program("dev", plugin())?;
        command.args(["__complete", "--kubeconfig", &path, "-n", &scene.name]).args(&before[1..]).stdin(Stdio::null());
    }
    let said = command.envs(env.iter().copied()).output().await?;
    let all = format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    Ok((said.status.code().unwrap_or(-1), all))
}

async fn f39_plugin_prints_no_secret_of_a_failing_credential_plugin(env: Arc<Env>) -> Outcome {
    let scene = env.scene("f39").await?;
    let program = script(
        &scene,
        "kubelogin",
        &format!(
            "echo '{{\"status\":{{\"token\":\"{SECRET}-out\"}}}}'\necho 'AADSTS7000215: sign in failed, client_secret={SECRET}-err' >&2\nexit 3"
        ),
    )?;
    let config = with_plugin(&scene, "failing", &program)?;
    for args in COMMANDS {
        let (code, said) = jit(&scene, &config, args, &[("RUST_LOG", "trace"), ("RUST_BACKTRACE", "1")]).await?;
        ensure!(!said.contains(SECRET), "'{}' prints a secret: {said}", args.join(" "));
        let quiet = matches!(*args, ["whoami", "--prompt"] | ["__complete", ..]);
        let told = said.contains("cannot sign in") && said.contains("failed with exit code 3") && said.contains("AADSTS7000215");
        ensure!(quiet || told && code == 1, "'{}' ends with {code} and does not say why: {said}", args.join(" "));
    }
    // The output of a credential plugin must not be printed even when it is no credential.
    let program = script(&scene, "chatty", &format!("echo 'token: {SECRET}-out'"))?;
    let (code, said) = jit(&scene, &with_plugin(&scene, "chatty-config", &program)?, &["whoami"], &[]).await?;
    ensure!(code == 1 && !said.contains(SECRET) && said.contains("something other than an ExecCredential"), "{code}: {said}");
    Ok(())
}

async fn f39_operator_logs_no_secret_of_a_failing_credential_plugin(env: Arc<Env>) -> Outcome {
    let scene = env.scene("f39-logs").await?;
    let program = script(&scene, "kubelogin", &format!("echo '{SECRET}-out'\necho 'sign in failed, password={SECRET}-err' >&2\nexit 3"))?;
    let config = with_plugin(&scene, "failing", &program)?;
    let settings = scene.fixture.cluster().directory().join("operator").join("config.json");
    let mut command = scene.fixture.cluster().program("dev", &control_plane::program("jit-rbac")?)?;
    command.env("KUBECONFIG", &config).env("RUST_LOG", "trace").stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.args(["webhook", "--health-address", "127.0.0.1:0", "--config"]).arg(&settings).spawn()?;
    let mut lines = BufReader::new(child.stderr.take().ok_or("it has no standard error")?).lines();
    let until_tried = async {
        let (mut said, mut tried) = (String::new(), 0);
        while let Some(line) = lines.next_line().await? {
            tried += usize::from(line.contains("cannot reach the API server"));
            said += &line;
            said.push('\n');
            if tried == 2 {
                break;
            }
        }
        Ok::<_, Error>(said)
    };
    let said = tokio::time::timeout(SOON, until_tried).await??;
    ensure!(!said.contains(SECRET), "a log line has a secret: {said}");
    ensure!(said.contains("failed with exit code 3: sign in failed"), "it does not say why: {said}");
    Ok(())
}

async fn f62_plugin_runs_the_credential_plugin_once_per_command(env: Arc<Env>) -> Outcome {
    let scene = env.scene("f62").await?;
    let own = scene.offer("self", automatic(), eligibility("view")).await?;
    let here = machine(&scene)?.display().to_string();
    let token = scene.fixture.cluster().users().iter().find(|user| user.name == "dev").ok_or("there is no dev")?.token.clone();
    let credential = json!({
        "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
        "status": {"token": token, "expirationTimestamp": "2099-01-01T00:00:00Z"},
    });
    let program = script(&scene, "counting", &format!("echo \"$KUBERNETES_EXEC_INFO\" >>'{here}/runs'\nprintf '%s' '{credential}'"))?;
    let config = with_plugin(&scene, "config", &program)?;
    let runs = || fs::read_to_string(format!("{here}/runs")).unwrap_or_default().lines().map(str::to_owned).collect::<Vec<_>>();
    let mut before = 0;
    let (activate, run) = (["activate", own.as_str(), "-d", "5m", "--wait"], ["run", own.as_str(), "-d", "5m", "--", "true"]);
    let commands: [&[&str]; 7] =
        [&["whoami"], &["roles", "-o", "json"], &activate, &["deactivate"], &run, &["list", "-A", "--non-interactive"], &["check"]];
    for args in commands {
        let (code, said) = jit(&scene, &config, args, &[]).await?;
        ensure!(code == 0 || args == ["check"], "'{}' ends with {code}: {said}", args.join(" "));
        let now = runs();
        ensure!(now.len() == before + 1, "'{}' runs the plugin {} times", args.join(" "), now.len() - before);
        ensure!(now.iter().all(|info| info.contains(r#""interactive":false"#)), "it cannot be answered: {now:?}");
        before = now.len();
    }
    // Completion and prompts do not run it, unless this is allowed.
    let unasked: [&[&str]; 2] = [&["whoami", "--prompt"], &["__complete", "activate", ""]];
    for args in unasked {
        let (code, said) = jit(&scene, &config, args, &[]).await?;
        ensure!(code == 0 && runs().len() == before, "'{}' runs the plugin: {said}", args.join(" "));
    }
    let (_, said) = jit(&scene, &config, &["__complete", "activate", ""], &[("KUBECTL_JIT_RUN_CREDENTIAL_PLUGIN", "true")]).await?;
    ensure!(runs().len() == before + 1 && said.contains(&own), "it was run {} times: {said}", runs().len() - before);
    Ok(())
}

async fn f40_plugin_uses_the_same_proxies_as_kubectl(env: Arc<Env>) -> Outcome {
    let scene = env.scene("f40").await?;
    let plain = kubeconfig(&scene, "plain", |_| ())?;
    let proxied =
        kubeconfig(&scene, "proxied", |config| config["clusters"][0]["cluster"]["proxy-url"] = json!("http://ann:S3cr3t@127.0.0.1:1"))?;
    let dead = "http://127.0.0.1:1";
    // The API server's own address is a loopback address: no proxy of the environment is used for it.
    for variables in [
        [("HTTPS_PROXY", dead), ("NO_PROXY", "")],
        [("https_proxy", dead), ("NO_PROXY", "127.0.0.1")],
        [("HTTPS_PROXY", "http://192.0.2.1:3128"), ("NO_PROXY", "127.0.0.0/8, not valid,,[")],
    ] {
        let (code, said) = jit(&scene, &plain, &["whoami", "-o", "name"], &variables).await?;
        ensure!(code == 0 && said.contains("dev"), "{variables:?}: {said}");
    }
    // The proxy of a kubeconfig is used, whatever the environment contains.
    let (code, said) = jit(&scene, &proxied, &["whoami"], &[("NO_PROXY", "127.0.0.1,*"), ("HTTPS_PROXY", "")]).await?;
    ensure!(code == 1 && said.contains("through a proxy") && !said.contains(SECRET), "{code}: {said}");
    let elsewhere = [("HTTPS_PROXY", "ftp://ann:S3cr3t@proxy"), ("NO_PROXY", "")];
    let (code, said) = jit(&scene, &plain, &["whoami", "-s", "https://192.0.2.1:6443"], &elsewhere).await?;
    ensure!(code == 1 && said.contains("$HTTPS_PROXY has the unsupported scheme 'ftp'") && !said.contains(SECRET), "{code}: {said}");
    Ok(())
}

async fn f33_plugin_reports_kubeconfig_errors(env: Arc<Env>) -> Outcome {
    let scene = env.scene("f33").await?;
    let server = scene.fixture.cluster().server().to_owned();
    let bare = server.trim_start_matches("https://").to_owned();
    let plain = kubeconfig(&scene, "plain", |_| ())?;
    let no_scheme = kubeconfig(&scene, "no-scheme", |config| config["clusters"][0]["cluster"]["server"] = json!(bare))?;
    for (config, args, says) in [
        (&no_scheme, vec!["whoami"], "use https://"),
        (&plain, vec!["whoami", "-s", &bare], "use https://"),
        (&plain, vec!["whoami", "-s", ":::"], "invalid address ':::'"),
        (&plain, vec!["whoami", "--user", "nope"], "auth info 'nope' does not exist"),
        (&plain, vec!["whoami", "--cluster", "nope"], "cluster 'nope' does not exist"),
        (&plain, vec!["whoami", "--context", "nope"], "context 'nope' does not exist"),
        (&plain, vec!["whoami", "-s", "https://127.0.0.1:1"], "the connection to the server https://127.0.0.1:1 was refused"),
        (&plain, vec!["whoami", "--token", "with space"], "not allowed in an HTTP header"),
    ] {
        let (code, said) = jit(&scene, config, &args, &[]).await?;
        ensure!(code == 1 && said.contains(says), "{args:?} ends with {code} and does not say '{says}': {said}");
        ensure!(!said.contains("panicked") && said.lines().count() == 1, "{args:?}: {said}");
    }
    let mut command = scene.fixture.cluster().program("dev", plugin())?;
    let said = command.env("KUBECONFIG", "/no/such/file").args(["whoami"]).output().await?;
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    ensure!(said.contains("$KUBECONFIG names '/no/such/file': no such file"), "{said}");
    Ok(())
}

async fn f63_plugin_reports_unusable_keys(env: Arc<Env>) -> Outcome {
    let scene = env.scene("f63").await?;
    let here = machine(&scene)?;
    let (key, certificate) = (here.join("key.pem"), here.join("certificate.pem"));
    fs::write(&key, P521_KEY)?;
    fs::write(&certificate, P521_CERTIFICATE)?;
    let config = kubeconfig(&scene, "p521", |config| {
        config["users"][0]["user"] = json!({"client-certificate": certificate, "client-key": key});
    })?;
    let (code, said) = jit(&scene, &config, &["whoami"], &[]).await?;
    ensure!(code == 1 && said.contains("the client key cannot be used") && said.contains("P-256 and P-384"), "{code}: {said}");
    // An authority that did not sign the server's certificate.
    let other = kubeconfig(&scene, "other", |config| config["clusters"][0]["cluster"]["certificate-authority"] = json!(certificate))?;
    let (code, said) = jit(&scene, &other, &["whoami"], &[]).await?;
    ensure!(code == 1 && said.contains("signed by an unknown authority"), "{code}: {said}");
    Ok(())
}

async fn f72_plugin_impersonates_extras_as_kubectl_does(env: Arc<Env>) -> Outcome {
    let scene = env.scene("f72").await?;
    let args = ["whoami", "-o", "json", "--as", "ann", "--as-user-extra", "example.org/team=a", "--as-user-extra", "example.org/team=b=c"];
    let said: Value = serde_json::from_str(&ended(scene.jit("admin", &args).await?, 0, &[])?)?;
    ensure!(said["user"]["extra"]["example.org/team"] == json!(["a", "b=c"]), "{said}");
    ended(scene.jit("admin", &["whoami", "--as-user-extra", "a=b"]).await?, 2, &["need --as"])?;
    ended(scene.jit("admin", &["whoami", "--as", "ann", "--as-user-extra", "a"]).await?, 2, &["KEY=VALUE"])?;
    Ok(())
}
