//! Reasons about the admission guards.

use super::{Example::Console, Explanation, STATUS_OF_REQUEST};

pub const GuardsNotVerified: Explanation = Explanation {
    meaning: "New grants are paused, because the operator cannot verify an admission guard: one of its policies or webhooks is \
              missing, was changed, or does not refuse what it must. **Active grants are not affected and still expire on \
              schedule.** Requests and approvals that are created during this time do not count. Create them again afterwards.",
    when: "On pending requests. They continue when the guards are verified again. After an installation or upgrade, this is normal \
           for some seconds.",
    examples: &[Console(
        STATUS_OF_REQUEST,
        &["GuardsNotVerified: new grants are on hold, since the admission guards are not verified: ValidatingAdmissionPolicyBinding \
             jit-rbac-requests is missing. An admin restores it: run 'helm upgrade' with the values of the release. Active grants still \
             expire on schedule; requests and approvals made during this time must be submitted again"],
    )],
    requester: "Wait. If the reason stays for some minutes, tell an admin.",
    admin: "The message and the operator's log name the guard and the command that restores it; see \
            [restore a guard](../guards.md#restore-a-guard). Then find out who changed it. A change needs `administer` on \
            `guards.jitrbac.dev`, or permission to write admission policies. Objects that were written meanwhile have the reason \
            [WrittenUnguarded](WrittenUnguarded.md).",
};

pub const GuardsVerified: Explanation = Explanation {
    meaning: "All admission guards are verified again after one of them had changed. New grants continue.",
    when: "In an Event on the operator's Lease. Pending requests are decided again at once.",
    examples: &[Console(
        "kubectl get events -n jit-system --field-selector reason=GuardsVerified -o custom-columns=TYPE:.type,REASON:.reason,MESSAGE:.message",
        &["TYPE     REASON           MESSAGE", "Normal   GuardsVerified   all admission guards are verified: grants resume"],
    )],
    requester: "Create requests and approvals of that time again: see [WrittenUnguarded](WrittenUnguarded.md).",
    admin: "If you upgraded the release, nothing. Otherwise find out what changed: the previous Event, \
            [GuardsNotVerified](GuardsNotVerified.md), and the log name the guard. \
            [guards.md](../guards.md#what-was-written-meanwhile) describes how to lift the quarantine of eligibilities and policies.",
};

pub const ClockSkewed: Explanation = Explanation {
    meaning: "New grants are paused, because the operator's clock and the API server's clock differ by more than 10 seconds. Active \
              grants are not affected: if the clocks differ by more than 2 seconds, the operator corrects its clock by the time in \
              the API server's answers, so grants end neither early nor late.",
    when: "On pending requests. They continue when the clocks agree again.",
    examples: &[Console(
        STATUS_OF_REQUEST,
        &["ClockSkewed: new grants are on hold, since the operator's clock shows 2026-11-25T13:00:00Z and the API server's \
             2026-11-25T12:00:00Z: they may differ by 10 seconds at most. Synchronize the clocks of the nodes, for example with NTP; \
             active grants still expire on schedule"],
    )],
    requester: "Wait. If the reason stays for some minutes, tell an admin.",
    admin: "Check the time service (NTP) of the node on which the operator runs, and of the API server's hosts. Or move the pod to \
            another node.",
};

pub const RecordUnavailable: Explanation = Explanation {
    meaning: "New grants are paused, because the audit log has not confirmed for longer than the chart's value `record.requireWithin` that \
              everything is recorded. Active grants are not affected and still expire on schedule.",
    when: "On pending requests. They continue when the audit log confirms again. Without `record.requireWithin`, which is the default, \
           grants never wait for the log.",
    examples: &[Console(
        STATUS_OF_REQUEST,
        &[
            "RecordUnavailable: new grants are on hold, since the audit log confirmed at 2026-11-25T12:00:00Z for the last time that everything is recorded, and \
             the chart's value record.requireWithin allows 300 seconds. An admin finds the cause in the log of the record's pod; active grants still \
             expire on schedule",
        ],
    )],
    requester: "Wait. If the reason stays for some minutes, tell an admin.",
    admin: "See the runbook [JitRbacRecordBehind](../runbooks/JitRbacRecordBehind.md): the process `record` does not run, or its store \
            does not answer or is full.",
};

pub const WrittenUnguarded: Explanation = Explanation {
    meaning: "The object was written while an admission guard was missing or changed, so it may be forged. It is never used, even \
              after the guards are restored. To use it, write it again.",
    when: "On a request that was created in that time: it ends as Denied. On the conditions `Ready` and `Usable` of an eligibility \
           or policy that was written in that time: requests under it stay Pending. An `Approve` of that time does not count.",
    examples: &[Console(
        STATUS_OF_REQUEST,
        &[
            "WrittenUnguarded: the request was created at 2026-11-22T20:03:33Z, when the admission guards were not verified, so its author cannot be trusted; create it again",
        ],
    )],
    requester: "Create the request again, under a new name, or approve again. `kubectl jit activate -` repeats your last request.",
    admin: "Review eligibilities and policies with this reason before you write them again: they may have been changed without \
            authorization. `kubectl get rel,apol` lists them. A change of a label is not enough. Change the spec, for example its \
            `description`.",
};
