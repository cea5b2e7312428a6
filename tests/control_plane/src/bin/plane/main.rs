//! x
use control_plane::{Options, Plane};
#[tokio::main]
async fn main() {
    let t = std::time::Instant::now();
    let plane = Plane::start(Options::default()).await.unwrap();
    eprintln!("ready {:?} {:?}", t.elapsed(), plane.cluster().kubeconfig());
    tokio::time::sleep(std::time::Duration::from_secs(20)).await;
}
