//! The product, the test matrix, the charts and the documentation name the same versions of Kubernetes.

use std::path::Path;

use control_plane::Release;
use kube_io::kubernetes::{NEWEST, OLDEST};

use crate::files::page;

#[test]
fn the_matrix_is_what_the_product_calls_tried() {
    assert_eq!(Release::ALL.map(Release::minor).to_vec(), (OLDEST..=NEWEST).collect::<Vec<_>>());
}

#[test]
fn charts_ask_for_the_oldest_and_pages_name_both_ends() {
    let range = format!("1.{OLDEST} to 1.{NEWEST}");
    for (path, says) in [
        ("charts/jit-rbac/Chart.yaml", format!("\nkubeVersion: \">=1.{OLDEST}.0-0\"\n")),
        ("charts/jit-access/Chart.yaml", format!("\nkubeVersion: \">=1.{OLDEST}.0-0\"\n")),
        ("README.md", format!("Kubernetes {range}")),
        ("docs/testing.md", format!("Kubernetes {range}")),
    ] {
        assert!(page(Path::new(path)).text.contains(&says), "{path} does not contain {says}");
    }
}

#[test]
fn every_release_has_its_row_of_results() {
    let told = page(Path::new("docs/testing.md")).text;
    for release in Release::ALL {
        let release = release.to_string();
        assert!(told.contains(&format!("| {} |", release.trim_start_matches('v'))), "docs/testing.md has no row for {release}");
    }
}
