//! Kubeconfigs of users who sign in with a provider: a credential plugin, an `oidc` provider; and a policy that requires another sign-in.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, sync::Arc};

use control_plane::{Said, SignIn};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{ended, made, nothing_asked, plugin};
use crate::{
    ensure,
    env::{Env, Error, Outcome, Scene, TestCase},
    evidence::{AMR, guarded, with_mfa},
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![
        plugin_without_a_terminal_prints_how_to_sign_in_again,
        plugin_retries_once_with_new_credentials,
        plugin_retries_at_most_once,
        plugin_accepts_an_oidc_kubeconfig,
    ]
}

/// A scene with an eligibility whose requester must have used a second factor.
async fn scene(env: &Arc<Env>, name: &str) -> Result<(Scene, String), Error> {
    let scene = env.scene(name).await?;
    let offer = guarded(&scene).await?;
    Ok((scene, offer))
}

/// A directory of this scene for the files on a user's machine.
pub fn machine(scene: &Scene) -> Result<PathBuf, Error> {
    let directory = scene.fixture.cluster().directory().join("machines").join(&scene.name);
    fs::create_dir_all(&directory)?;
    Ok(directory)
}

/// A kubeconfig whose user signs in this way.
fn kubeconfig(scene: &Scene, user: &Value) -> Result<PathBuf, Error> {
    let path = scene.fixture.cluster().kubeconfig_of("dev")?;
    let mut config: Value = serde_json::from_slice(&fs::read(path)?)?;
    config["users"][0]["user"] = user.clone();
    let path = machine(scene)?.join("kubeconfig");
    fs::write(&path, config.to_string())?;
    Ok(path)
}

/// A credential plugin with the name of a common one, which returns each of these sign-ins once and then always the last.
fn credential_plugin(scene: &Scene, sign_ins: &[SignIn]) -> Result<PathBuf, Error> {
    let directory = machine(scene)?;
    for (number, who) in sign_ins.iter().enumerate() {
        let credential = json!({
            "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
            "status": {"token": scene.fixture.cluster().sign_in(who)?},
        });
        fs::write(directory.join(format!("token-{number}")), credential.to_string())?;
    }
    let (program, here, last) = (directory.join("kubelogin"), directory.display(), sign_ins.len().saturating_sub(1));
    let script = format!(
        "#!/bin/sh\ncount=$(cat '{here}/asked' 2>/dev/null || echo 0)\necho $((count + 1)) >'{here}/asked'\n\
         [ \"$count\" -le {last} ] || count={last}\ncat '{here}/token-'$count\n"
    );
    fs::write(&program, script)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    let exec = json!({
        "apiVersion": "client.authentication.k8s.io/v1", "command": program, "args": ["get-token"], "interactiveMode": "Never",
    });
    kubeconfig(scene, &json!({"exec": exec}))
}

async fn jit(scene: &Scene, kubeconfig: &std::path::Path, args: &[&str]) -> Result<Said, Error> {
    let path = kubeconfig.display().to_string();
    let all = [args, &["-n", &scene.name, "--kubeconfig", &path]].concat();
    Ok(scene.fixture.cluster().run_program("dev", plugin(), &all, None).await?)
}

fn with_password(name: &str) -> SignIn {
    SignIn { amr: vec!["pwd".to_owned()], auth_time: Some(Timestamp::now()), ..SignIn::new(name, ["devs"]) }
}

async fn plugin_without_a_terminal_prints_how_to_sign_in_again(env: Arc<Env>) -> Outcome {
    let (scene, offer) = scene(&env, "sign-in").await?;
    let config = kubeconfig(&scene, &json!({"token": scene.fixture.cluster().sign_in(&with_password("ann"))?}))?;
    let says = ["EvidenceMismatch", AMR, "sign in again: write a new token into your kubeconfig", "kubectl jit explain EvidenceMismatch"];
    ended(jit(&scene, &config, &["activate", &offer]).await?, 5, &says)?;
    nothing_asked(&scene).await
}

async fn plugin_retries_once_with_new_credentials(env: Arc<Env>) -> Outcome {
    let (scene, offer) = scene(&env, "sign-in-again").await?;
    let config = credential_plugin(&scene, &[with_password("ann"), with_mfa("ann", "devs")])?;
    let says = ["EvidenceMismatch", "sign in again: kubelogin clean", "is active until"];
    let name = made(&ended(jit(&scene, &config, &["activate", &offer, "--wait", "-o", "name"]).await?, 0, &says)?)?;
    // The request was made by the second sign-in, whose evidence is stamped into it.
    let request = scene.get("rar", &name).await?.ok_or("the request is gone")?;
    ensure!(request["spec"]["requester"]["username"] == "oidc:ann", "asked by {}", request["spec"]["requester"]);
    ensure!(request["spec"]["requester"]["extra"][AMR].to_string().contains("mfa"), "stamped {}", request["spec"]["requester"]);
    Ok(())
}

async fn plugin_retries_at_most_once(env: Arc<Env>) -> Outcome {
    let (scene, offer) = scene(&env, "sign-in-once").await?;
    let config = credential_plugin(&scene, &[with_password("ann")])?;
    let said = jit(&scene, &config, &["activate", &offer]).await?;
    ensure!(said.stderr.matches("sign in again:").count() == 1, "{}", said.stderr);
    ended(said, 5, &["EvidenceMismatch"])?;
    nothing_asked(&scene).await
}

async fn plugin_accepts_an_oidc_kubeconfig(env: Arc<Env>) -> Outcome {
    let (scene, offer) = scene(&env, "oidc").await?;
    let token = scene.fixture.cluster().sign_in(&with_mfa("bob", "devs"))?;
    let provider =
        json!({"name": "oidc", "config": {"id-token": token, "client-id": "kubernetes", "idp-issuer-url": "https://issuer.example"}});
    let config = kubeconfig(&scene, &json!({"auth-provider": provider}))?;
    ended(jit(&scene, &config, &["whoami"]).await?, 0, &["oidc:bob"])?;
    ended(jit(&scene, &config, &["activate", &offer, "--wait"]).await?, 0, &["is active until"])?;
    Ok(())
}
