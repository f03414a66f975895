//! What the console shows of write lanes. Decides nothing and formats nothing.

use std::time::Duration;

use crate::admin::{LaneCause, LaneHolderRow, LaneRow, LaneTotals, LanesReport};
use crate::admit::{Cause, HolderState, HolderView, LaneView, Lanes, Outcome};
use crate::clients::{Clients, Doing};
use crate::observe::bypass::Bypass;

/// A lane that nobody has used for longer is not worth a row unless it was asked for.
const QUIET: Duration = Duration::from_secs(60);

/// All lanes, and sums over them.
pub fn report(lanes: &Lanes, clients: &Clients, bypass: Option<&Bypass>) -> LanesReport {
    let now = tokio::time::Instant::now();
    let views = lanes.view(now);
    let totals = lanes.totals();
    let uptime = now.into_std().saturating_duration_since(totals.since);
    let causes = Outcome::ALL.into_iter().flat_map(|outcome| {
        let cause = |cause| LaneCause { outcome, cause, count: totals.by_cause(outcome, cause) };
        Cause::ALL.map(cause)
    });
    let totals = LaneTotals {
        held: totals.held,
        waiting: totals.waiting,
        sweeps_per_minute: totals.counters.sweeps_per_minute(uptime),
        causes: causes.filter(|cause| cause.count > 0).collect(),
        bypasses: bypass.map(Bypass::report).unwrap_or_default(),
        counters: totals.counters,
    };
    LanesReport { lanes: views.into_iter().map(|view| row(view, uptime, clients)).collect(), totals }
}

fn row(view: LaneView, uptime: Duration, clients: &Clients) -> LaneRow {
    let state = match &view.holder {
        Some(holder) => holder.state.as_str(),
        None if !view.lent_by.is_empty() => "lent",
        None => "free",
    };
    let is_quiet = view.quiet_for.is_none_or(|quiet| quiet > QUIET);
    LaneRow {
        lane: view.key.to_string(),
        state,
        is_active: state != "free" || view.waiting > 0 || !is_quiet,
        holder: view.holder.map(|holder| holder_row(holder, clients)),
        lent_by: view.lent_by.iter().map(|who| who.client_id).collect(),
        waiting: view.waiting,
        longest_wait: view.waiters.iter().map(|waiter| waiter.waited).max(),
        sweeps_per_minute: view.counters.sweeps_per_minute(uptime),
        counters: view.counters,
    }
}

fn holder_row(holder: HolderView, clients: &Clients) -> LaneHolderRow {
    let HolderView { who, statement, held_for, state, .. } = holder;
    let state_for = match state {
        HolderState::Idle(since) | HolderState::Kept(since) => since,
        // The lanes don't know since when, the registry does; between two statements neither.
        HolderState::Busy => statement_age(clients, who.client_id).unwrap_or_default(),
    };
    LaneHolderRow {
        client_id: who.client_id,
        account: who.account.clone(),
        program: who.program.clone(),
        statement,
        state_for,
        held_for,
    }
}

fn statement_age(clients: &Clients, client_id: u32) -> Option<Duration> {
    let view = clients.get(client_id)?.view();
    let serves = matches!(view.doing, Doing::Running | Doing::Waiting | Doing::WaitingAtGate);
    serves.then(|| view.doing_since.elapsed())
}
