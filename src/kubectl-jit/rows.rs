//! Tables of requests.

use kube::ResourceExt;

use super::{
    paint::Paint,
    read::{created, requester, state},
    table::{Column, Table},
    times::{Times, short},
    words,
};
use api::RoleActivationRequest;

/// A table of requests, with a column for the namespace if there are several, for the start if one is in the future, and for emergencies if
/// there is one.
#[must_use]
pub fn table_of(requests: &[RoleActivationRequest], several: bool, times: &Times) -> Table {
    let ahead = requests.iter().any(|request| words::starts(request).is_some());
    let starts = if ahead { Column::new("STARTS") } else { Column::new("STARTS").wide() };
    let urgent =
        if requests.iter().any(|request| request.spec.emergency) { Column::new("EMERGENCY") } else { Column::new("EMERGENCY").wide() };
    let mut table = Table::default();
    for request in requests {
        let (found, status) = (state(request), request.status.as_ref());
        let decide_by = status.and_then(|status| status.awaiting.as_ref()).map(|awaiting| times.clock(awaiting.deadline));
        let place = several.then(|| Column::new("NAMESPACE").of(request.namespace().unwrap_or_default()));
        let cells = [
            Column::new("NAME").of(request.name_any()),
            Column::new("ROLE").of(words::role_name(request)),
            Column::new("USER").of(requester(request)),
            Column::new("STATE").painted(found.as_str(), words::mark(found).1),
            starts.of(words::starts(request).map(|at| times.clock(at)).unwrap_or_default()),
            Column::new("LEFT").of(words::left(request, times)),
            Column::new("AGE").of(short(times.now().duration_since(created(request)))),
            urgent.painted(if request.spec.emergency { "yes" } else { "" }, Paint::Bad),
            Column::new("DECIDE-BY").wide().of(decide_by.unwrap_or_default()),
            Column::new("ELIGIBILITY").wide().of(&request.spec.eligibility_ref.name),
            Column::new("REASON").wide().of(words::reason(request)),
            Column::new("APPROVED-BY").wide().free().of(status.and_then(|status| status.approved_by.clone()).unwrap_or_default()),
            Column::new("TICKET").wide().of(words::ticket(request)),
            Column::new("JUSTIFICATION").free().of(words::justification(request)),
        ];
        table.push(place.into_iter().chain(cells));
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::table::TableOptions;

    fn request(status: &Value, start: Option<&str>) -> RoleActivationRequest {
        serde_json::from_value(json!({
            "apiVersion": "jitrbac.dev/v1alpha1", "kind": "RoleActivationRequest", "metadata": {"name": "x", "namespace": "shop"},
            "spec": {"eligibilityRef": {"name": "pay"}, "startTime": start}, "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn f31_each_column_has_one_meaning() {
        let times = Times::new(true);
        let waits = json!({"state": "AwaitingApproval", "awaiting": {
            "stage": "lead", "have": 0, "required": 1, "deadline": "2040-01-01T00:00:00Z", "approvers": {"groups": ["leads"]}}});
        let waiting = request(&waits, None);
        // The time for a decision is not time of access.
        assert_eq!(words::left(&waiting, &times), "");
        let plain = table_of(std::slice::from_ref(&waiting), false, &times).render(TableOptions::default());
        assert!(!plain.contains("STARTS") && !plain.contains("2040"), "{plain}");
        let wide = table_of(std::slice::from_ref(&waiting), false, &times).render(TableOptions { wide: true, ..TableOptions::default() });
        assert!(wide.contains("DECIDE-BY") && wide.contains("2040-01-01 00:00 UTC"), "{wide}");

        let scheduled = request(&json!({"state": "Scheduled"}), Some("2041-01-01T08:00:00Z"));
        let plain = table_of(&[waiting, scheduled], false, &times).render(TableOptions::default());
        assert!(plain.contains("STARTS") && plain.contains("2041-01-01 08:00 UTC"), "{plain}");
        let over = request(&json!({"state": "Expired"}), Some("2041-01-01T08:00:00Z"));
        assert!(words::starts(&over).is_none(), "an expired one does not start");
    }
}
