use control_plane::{Binaries, Error, Result};

/// Finds or builds the programs, and says where they are.
pub(crate) async fn build() -> Result<()> {
    let found = tokio::task::spawn_blocking(Binaries::find).await;
    let found = found.map_err(|error| Error::State(format!("looking for the programs: {error}")))??;
    for path in [found.etcd, found.kube_apiserver, found.kube_controller_manager, found.kubectl, found.helm] {
        eprintln!("{}", path.display());
    }
    Ok(())
}
