//! Requests as rows of a table.

use kube::ResourceExt;

use super::{
    read::{created, requester, state},
    table::{Cell, Column, Table},
    times::{Times, short},
    words,
};
use crate::api::RoleActivationRequest;

/// The columns of requests; with one for namespaces where they are of several.
#[must_use]
pub fn table(several: bool) -> Table {
    let place = several.then_some(Column::new("NAMESPACE"));
    let columns = [
        Column::new("NAME"),
        Column::new("ROLE"),
        Column::new("USER"),
        Column::new("STATE"),
        Column::new("LEFT"),
        Column::new("AGE"),
        Column::new("ELIGIBILITY").wide(),
        Column::new("REASON").wide(),
        Column::new("APPROVED-BY").wide().free(),
        Column::new("TICKET").wide(),
        Column::new("JUSTIFICATION").free(),
    ];
    Table::new(place.into_iter().chain(columns))
}

/// The row of one request.
#[must_use]
pub fn row(request: &RoleActivationRequest, several: bool, times: &Times) -> Vec<Cell> {
    let (found, status) = (state(request), request.status.as_ref());
    let (_, paint) = words::mark(found);
    let place = several.then(|| Cell::from(request.namespace().unwrap_or_default()));
    let cells: [Cell; 11] = [
        request.name_any().into(),
        words::role_name(request).into(),
        requester(request).into(),
        Cell::painted(found.as_str(), paint),
        words::left(request, times).into(),
        short(times.now().signed_duration_since(created(request))).into(),
        request.spec.eligibility_ref.name.as_str().into(),
        words::reason(request).into(),
        status.and_then(|status| status.approved_by.clone()).unwrap_or_default().into(),
        words::ticket(request).into(),
        words::justification(request).into(),
    ];
    place.into_iter().chain(cells).collect()
}
