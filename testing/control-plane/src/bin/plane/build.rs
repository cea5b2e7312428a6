use control_plane::{Binaries, Error, Result};

/// Finds or builds the programs. What is built is told by who builds it; what is there already is no news.
pub(crate) async fn build() -> Result<()> {
    let found = tokio::task::spawn_blocking(Binaries::find).await;
    found.map_err(|error| Error::State(format!("looking for the programs: {error}")))??;
    Ok(())
}
