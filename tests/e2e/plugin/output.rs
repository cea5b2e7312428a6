//! The output on a terminal: long names, wide letters, control characters in stored texts, and no colour without a terminal.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{ended, offers, plugin};
use crate::{
    ensure,
    env::{Env, Outcome, SOON, TestCase, automatic, eligibility},
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![t13_plugin_escapes_stored_texts_and_aligns_columns, plugin_color_and_quiet_flags]
}

async fn t13_plugin_escapes_stored_texts_and_aligns_columns(env: Arc<Env>) -> Outcome {
    let scene = env.scene("texts").await?;
    let offer = scene.offer("self", automatic(), eligibility("view")).await?;
    let long = format!("n{}", "x".repeat(252));
    let mut request = scene.request(&long, &offer, "10m");
    request["spec"]["justification"] = json!("日本語の理由 \u{5d0}\u{5d1}\u{5d2} é");
    // Any writer can set annotations, and no schema restricts their characters.
    request["metadata"]["annotations"] = json!({"note": "a\u{1b}[2Jb\u{202e}c\rd"});
    scene.create("dev", &request).await?.ok()?;
    scene.until_state(&long, "Active", SOON).await?;
    for args in [
        vec!["list"],
        vec!["list", "-o", "wide"],
        vec!["status"],
        vec!["get", &long],
        vec!["whoami"],
        vec!["list", "-o", "yaml"],
        vec!["list", "-o", "json"],
    ] {
        let said = ended(scene.jit("dev", &args).await?, 0, &[&long])?;
        let raw = said
            .chars()
            .find(|letter| *letter != '\n' && (letter.is_control() || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')));
        ensure!(raw.is_none(), "{args:?} sends {raw:?} to the terminal");
    }
    let listed = ended(scene.jit("dev", &["list"]).await?, 0, &["日本語の理由"])?;
    ensure!(listed.lines().count() == 2, "the table is broken: {listed}");
    let stored: Value = serde_json::from_str(&ended(scene.jit("dev", &["get", &long, "-o", "json"]).await?, 0, &[])?)?;
    ensure!(stored["metadata"]["annotations"]["note"] == "a\u{1b}[2Jb\u{202e}c\rd", "the data differs: {stored}");
    // The longest name is accepted wherever a name is.
    ended(scene.jit("dev", &["deactivate", &long]).await?, 0, &["deactivated"])?;
    Ok(())
}

async fn plugin_color_and_quiet_flags(env: Arc<Env>) -> Outcome {
    let (scene, own, _) = offers(&env, "colours").await?;
    let run = async |args: &[&str], no_color: bool| {
        let mut command = scene.fixture.cluster().program("dev", plugin())?;
        if no_color {
            command.env("NO_COLOR", "1");
        }
        Ok::<_, crate::env::Error>(
            String::from_utf8_lossy(&command.args(args).args(["-n", &scene.name]).output().await?.stdout).into_owned(),
        )
    };
    ended(scene.jit("dev", &["activate", &own, "--wait", "-q"]).await?, 0, &[])?;
    ensure!(!run(&["status"], false).await?.contains('\u{1b}'), "a pipe has colours");
    ensure!(run(&["status", "--color=always"], true).await?.contains('\u{1b}'), "requested colours are missing");
    ensure!(!run(&["status", "--color=always", "--no-color"], false).await?.contains('\u{1b}'), "--no-color has colours");
    let bare = run(&["status", "--no-headers"], false).await?;
    ensure!(!bare.contains("NAME") && bare.lines().count() == 1, "{bare}");
    let quiet = scene.jit("dev", &["status", "-q"]).await?;
    ensure!(quiet.stderr.is_empty(), "-q says {}", quiet.stderr);
    Ok(())
}
