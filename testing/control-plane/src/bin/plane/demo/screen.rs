use std::path::Path;
use std::time::{Duration, Instant};

use control_plane::{ADMIN, Cluster, Error, Result, Said};

/// Runs commands that a user could type, and shows them as a terminal would.
pub(super) struct Screen {
    cluster: Cluster,
}

/// The output of a command, and its duration.
pub(super) struct Shown {
    pub(super) said: Said,
    pub(super) took: Duration,
}

impl Shown {
    /// Ends the demo with an error where a step had an unexpected result.
    pub(super) fn expect(self, works: bool) -> Result<Self> {
        if self.said.status.success() == works {
            return Ok(self);
        }
        let how = if works { "should have worked" } else { "should have been refused" };
        Err(Error::State(format!("the last command {how}; the demo ends here")))
    }
}

impl Screen {
    pub(super) fn new(cluster: &Cluster) -> Self {
        Self { cluster: cluster.clone() }
    }

    /// Prints a sentence that describes the next step.
    #[allow(clippy::unused_self, reason = "all that is shown is shown by the screen")]
    pub(super) fn say(&self, sentence: &str) {
        println!("\n# {sentence}");
    }

    /// Runs kubectl as a user.
    pub(super) async fn kubectl(&self, user: &str, line: &str) -> Result<Shown> {
        println!("$ kubectl --context {user} {line}");
        let words: Vec<String> = words(line);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let started = Instant::now();
        let said = self.cluster.run(user, &words).await?;
        Ok(show(said, started))
    }

    /// Runs kubectl as a user, with a manifest on standard input.
    pub(super) async fn with_manifest(&self, user: &str, line: &str, manifest: &str) -> Result<Shown> {
        println!("$ kubectl --context {user} {line} -f - <<EOF\n{}\nEOF", manifest.trim_end());
        let mut words = words(line);
        words.extend(["-f".to_owned(), "-".to_owned()]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let started = Instant::now();
        let said = self.cluster.run_with(user, &words, manifest).await?;
        Ok(show(said, started))
    }

    /// Runs `helm upgrade --install` of a chart with a values file.
    pub(super) async fn helm(&self, release: &str, chart: &Path, values: &Path) -> Result<()> {
        println!("$ helm upgrade --install {release} charts/{release} --values {}", values.file_name().unwrap_or_default().display());
        let started = Instant::now();
        let output = self
            .cluster
            .helm()?
            .args(["upgrade", "--install", release])
            .arg(chart)
            .args(["--namespace", "jit-system", "--values"])
            .arg(values)
            .output()
            .await
            .map_err(|error| Error::State(format!("helm could not be run: {error}")))?;
        if !output.status.success() {
            return Err(Error::State(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        println!("installed in {:.1} s", started.elapsed().as_secs_f64());
        Ok(())
    }

    /// Returns a field of an object, for the demo's own use.
    pub(super) async fn value(&self, object: &str, path: &str) -> Result<String> {
        let output = format!("jsonpath={{{path}}}");
        let words: Vec<&str> = ["get"].into_iter().chain(object.split(' ')).chain(["-o", &output]).collect();
        self.cluster.run(ADMIN, &words).await?.ok()
    }
}

fn show(said: Said, started: Instant) -> Shown {
    let took = started.elapsed();
    for text in [&said.stdout, &said.stderr] {
        if !text.trim().is_empty() {
            println!("{}", text.trim_end());
        }
    }
    Shown { said, took }
}

/// Splits a line into words, as a shell does that supports single quotes only.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty())),
            other => word.push(other),
        }
    }
    words.extend(Some(word).filter(|word| !word.is_empty()));
    words
}
