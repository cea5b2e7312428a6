//! The documentation of the charts.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::files::{files, page, pages, root};

fn text(path: &str) -> String {
    page(&root().join(path)).text
}

/// Without an operator active grants stay active forever, so the documentation must say when `helm uninstall` leaves them, and what to do.
#[test]
fn f06_it_is_documented_when_uninstalling_leaves_active_grants() {
    let revoke = "kubectl delete rolebindings --all-namespaces --selector jitrbac.dev/managed=true";
    for path in ["README.md", "docs/operator.md", "charts/jit-rbac/README.md"] {
        let text = text(path);
        assert!(text.contains("revokes every grant") && text.contains("--no-hooks"), "{path}");
        assert!(text.contains(revoke) || text.contains("docs/operator.md#uninstall"), "{path} must contain the command, or where it is");
    }
    let notes = text("charts/jit-rbac/templates/NOTES.txt");
    assert!(notes.lines().take(8).any(|line| line.contains(revoke)) && notes.contains("--no-hooks"), "{notes}");
}

/// Returns the value at a path of values.yaml.
fn is_value(values: &Value, path: &str) -> bool {
    let mut here = values;
    for key in path.split('.') {
        match here.get(key) {
            Some(inner) => here = inner,
            // Free-form values have keys that values.yaml does not have.
            None => return here.as_object().is_some_and(serde_json::Map::is_empty) && !std::ptr::eq(here, values),
        }
    }
    true
}

#[test]
fn f45_every_value_that_is_named_is_one() {
    let values =
        ["jit-rbac", "jit-access"].map(|chart| serde_saphyr::from_str::<Value>(&text(&format!("charts/{chart}/values.yaml"))).unwrap());
    let tops: BTreeSet<&str> = values.iter().flat_map(|values| values.as_object().unwrap().keys()).map(String::as_str).collect();
    let mut all = pages("docs");
    all.push(page(std::path::Path::new("README.md")));
    let (mut count, mut faults) = (0, Vec::new());
    for page in &all {
        for code in page.text.split('`').skip(1).step_by(2) {
            let path = code.split(['=', ':', ' ']).next().unwrap_or_default();
            let Some((top, _)) = path.split_once('.').filter(|(top, _)| tops.contains(top)) else { continue };
            // Commands and fields of the product's kinds can have the same prefix: `policies.alone` is an example.
            if ["policies", "eligibilities"].contains(&top) {
                continue;
            }
            count += 1;
            if !values.iter().any(|values| is_value(values, path)) {
                faults.push(format!("{}: `{code}` is not a chart value", page.path));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(count > 10, "only {count} chart values were found");
}

/// The values for a platform are a file that is rendered, linted and sent to an API server by other tests.
#[test]
fn the_values_for_each_platform_are_those_of_the_tested_files() {
    let text = text("docs/install.md");
    let mut named = BTreeSet::new();
    for part in text.split("<!-- charts/").skip(1) {
        let (path, rest) = part.split_once(" -->\n```yaml\n").expect("a block of YAML follows");
        let (block, _) = rest.split_once("```").expect("the block ends");
        assert_eq!(block, self::text(&format!("charts/{path}")), "{path}");
        named.insert(path.rsplit('/').next().unwrap_or_default().to_owned());
    }
    // Files for tests alone.
    let others =
        ["defaults", "many", "notify", "others", "out-of-cluster", "record", "record-volume"].map(|name| format!("{name}-values.yaml"));
    let all: BTreeSet<String> = files("charts/jit-rbac/ci", "yaml")
        .iter()
        .map(|path| path.file_name().unwrap_or_default().to_string_lossy().into_owned())
        .filter(|name| !others.contains(name))
        .collect();
    assert_eq!(named, all);
}

/// Losses and limits that users must know, and the pages where they would look for them.
#[test]
fn f22_f37_f72_the_limits_have_their_sections() {
    let limits = text("docs/known-limits.md");
    for heading in [
        "## People who share one user name are one person",
        "## What requesters can read",
        "## Records are deleted with their namespace",
        "## After a restore from a backup",
    ] {
        assert!(limits.contains(&format!("\n{heading}\n")), "{heading}");
    }
}

/// By RBAC alone a stolen token could bind the operator's own permissions; an end-to-end test proves that the policy denies it.
#[test]
fn f23_the_roles_of_a_stolen_token_are_those_of_the_policy() {
    let policy = text("charts/jit-rbac/templates/policies/bindings.yaml");
    assert!(policy.contains("RoleNotBindable"));
    let said = text("docs/known-limits.md").replace('\n', " ");
    assert!(said.contains("it also refuses the roles whose rules the operator holds itself"), "{said}");
}
