//! The terminal sessions in the documentation, executed again on a real API server: the output for a reader is the one on the page.
//!
//! A block of console text below a line `<!-- run as dev -->` is a shell session of that user. Lines that begin with `$ ` are typed
//! (including the lines of a here-document below them), the rest is the expected output. Times, ages, digests and generated names vary:
//! they are compared by their form, and a name or digest on the page is mapped to the real one.
//!
//! With `BLESS=1` (`make transcripts`) the real output is written into a page where it differs.

mod page;

use std::{collections::BTreeMap, fs, os::unix::fs::symlink, path::Path, sync::Arc};

use control_plane::{ADMIN, Cluster, playground, program};
use serde_json::{Value, json};

use crate::{
    ensure,
    env::{Env, Error, Outcome, TestCase},
    test_cases,
};
use page::{form, generated, steps};

/// Pages that are executed one after the other; each list begins without any request.
const SESSIONS: [&[&str]; 3] = [&["README.md"], &["docs/kubectl.md"], &["docs/requester.md", "docs/approver.md"]];

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![documented_sessions_match_the_output]
}

async fn documented_sessions_match_the_output(env: Arc<Env>) -> Outcome {
    let values = json!({"bindableRoles": {"clusterRoles": ["view", "edit", "admin"], "roles": ["debug"]}});
    let (fixture, _permit) = env.own_fixture(values).await?;
    let (cluster, root) = (fixture.cluster(), Path::new(env!("CARGO_MANIFEST_DIR")));
    playground::namespaces(cluster).await?;
    playground::examples(cluster, &root.join("examples")).await?;
    let directory = cluster.directory().join("sessions");
    fs::create_dir_all(&directory)?;
    symlink(root.join("examples"), directory.join("examples"))?;
    for session in SESSIONS {
        let mut names = BTreeMap::new();
        for name in session {
            run_page(cluster, &directory, &root.join(name), &mut names).await.map_err(|error| format!("{name}: {error}"))?;
        }
        let everything = ["delete", "roleactivationrequests,activationdecisions", "--all", "-A", "--timeout=30s"];
        cluster.run(ADMIN, &everything).await?.ok()?;
    }
    Ok(())
}

/// Executes the commands of a page and compares their output with the page. `names` maps the names on the page to the real ones.
async fn run_page(cluster: &Cluster, directory: &Path, page: &Path, names: &mut BTreeMap<String, String>) -> Outcome {
    let text = fs::read_to_string(page)?;
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let steps = steps(&text);
    ensure!(steps.len() > 5, "only {} commands were found", steps.len());
    let blesses = std::env::var_os("BLESS").is_some();
    let (mut printed, mut differs) = (Vec::new(), false);
    for step in &steps {
        let typed = names.iter().fold(step.command.clone(), |typed, (then, now)| typed.replace(then, now));
        let said = shell(cluster, directory, &step.user, &typed).await?;
        let expected = lines.get(step.output.clone()).unwrap_or_default().join("\n");
        names.extend(generated(&expected).into_iter().zip(generated(&said)));
        let (wanted, got) = (form(&expected), form(&said));
        differs |= wanted != got;
        ensure!(blesses || wanted == got, "'$ {}' printed\n{said}\ninstead of\n{expected}\n({got:?}\n {wanted:?})", step.command);
        printed.push((step.output.clone(), said));
    }
    if differs {
        // All of it, so that the times of a page are consistent. The names on the page stay: later commands use them.
        for (range, said) in printed.into_iter().rev() {
            let said = names.iter().fold(said, |said, (then, now)| said.replace(now, then));
            lines.splice(range, said.trim_end().lines().map(str::to_owned));
        }
        fs::write(page, lines.join("\n") + "\n")?;
    }
    Ok(())
}

/// Returns a shell's output of this command, for a user with the contexts of all users, their own the current one.
async fn shell(cluster: &Cluster, directory: &Path, user: &str, typed: &str) -> Result<String, Error> {
    let mut config: Value = serde_json::from_slice(&fs::read(cluster.kubeconfig())?)?;
    config["current-context"] = json!(user);
    let kubeconfig = directory.join(format!("{user}.kubeconfig"));
    fs::write(&kubeconfig, config.to_string())?;
    let plugin = program("kubectl-jit")?.parent().ok_or("the plugin has no directory")?.display().to_string();
    let script = format!("cd '{}'; PATH=\"{plugin}:$PATH\"; {{ {typed}\n}} 2>&1", directory.display());
    let said = cluster.program(user, Path::new("sh"))?.env("KUBECONFIG", &kubeconfig).args(["-c", &script]).output().await?;
    Ok(String::from_utf8_lossy(&said.stdout).into_owned())
}
