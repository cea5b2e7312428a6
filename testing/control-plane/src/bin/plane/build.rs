use control_plane::{Binaries, Error, Result};

/// Finds or builds the programs. The build itself reports its progress; programs that exist already are not reported.
pub(crate) async fn build() -> Result<()> {
    let found = tokio::task::spawn_blocking(Binaries::find).await;
    found.map_err(|error| Error::State(format!("cannot find the programs: {error}")))??;
    Ok(())
}
