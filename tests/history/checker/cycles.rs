//! Finds cycles, names them after Adya, and explains them.
//! Does not report more than one cycle per strongly connected component.

use std::collections::VecDeque;
use std::fmt::Write;

use super::super::history::History;
use super::graph::{Edge, Graph};
use super::{Anomaly, Kind};

/// How many starting points are tried for a shortest cycle; in a large component any short one will do.
const STARTS_MAX: usize = 1000;

/// A step of a cycle: from, why, to.
type Step = (usize, Edge, usize);

/// The kinds of cycles, the worst first: the edges they are made of, and whether one rw is among them.
struct Level {
    kind: Kind,
    allowed: fn(&Edge) -> bool,
    one_rw: bool,
}

fn is_ww(edge: &Edge) -> bool {
    matches!(edge, Edge::Ww { .. })
}

fn is_write_or_read(edge: &Edge) -> bool {
    matches!(edge, Edge::Ww { .. } | Edge::Wr { .. })
}

fn is_data(edge: &Edge) -> bool {
    *edge != Edge::RealTime
}

const LEVELS: [Level; 8] = [
    Level { kind: Kind::G0, allowed: is_ww, one_rw: false },
    Level { kind: Kind::G1c, allowed: is_write_or_read, one_rw: false },
    Level { kind: Kind::GSingle, allowed: is_write_or_read, one_rw: true },
    Level { kind: Kind::G2, allowed: is_data, one_rw: false },
    Level { kind: Kind::G0RealTime, allowed: |edge| is_ww(edge) || !is_data(edge), one_rw: false },
    Level {
        kind: Kind::G1cRealTime,
        allowed: |edge| is_write_or_read(edge) || !is_data(edge),
        one_rw: false,
    },
    Level {
        kind: Kind::GSingleRealTime,
        allowed: |edge| is_write_or_read(edge) || !is_data(edge),
        one_rw: true,
    },
    Level { kind: Kind::G2RealTime, allowed: |_| true, one_rw: false },
];

/// The worst cycle of each component.
pub fn anomalies(history: &History, graph: &Graph) -> Vec<Anomaly> {
    let mut anomalies = Vec::new();
    for component in components(graph) {
        let mut inside = vec![false; graph.len()];
        for node in &component {
            inside[*node] = true;
        }
        let worst = LEVELS.iter().find_map(|level| {
            let cycle = shortest(graph, &component, &inside, level)?;
            Some((name(level.kind, &cycle), cycle))
        });
        // A component with no cycle does not exist.
        let (kind, cycle) = worst.expect("a component has a cycle");
        anomalies.push(Anomaly::new(kind, explain(history, &cycle, component.len())));
    }
    anomalies
}

fn name(kind: Kind, cycle: &[Step]) -> Kind {
    match (kind, cycle) {
        (Kind::GSingle, [(_, Edge::Rw { key: read, .. }, _), (_, Edge::Ww { key: written, .. }, _)])
            if read == written =>
        {
            Kind::LostUpdate
        }
        _ => kind,
    }
}

fn shortest(graph: &Graph, component: &[usize], inside: &[bool], level: &Level) -> Option<Vec<Step>> {
    let path = |from, to| path(graph, inside, level.allowed, from, to);
    let mut best: Option<Vec<Step>> = None;
    let mut keep = |cycle: Option<Vec<Step>>| {
        if let Some(cycle) = cycle.filter(|new| best.as_ref().is_none_or(|old| new.len() < old.len())) {
            best = Some(cycle);
        }
    };
    if level.one_rw {
        let anti =
            component.iter().flat_map(|from| graph[*from].iter().map(move |(to, edge)| (*from, *edge, *to)));
        let anti = anti.filter(|(_, edge, to)| matches!(edge, Edge::Rw { .. }) && inside[*to]);
        // All of them: whether there is such a cycle decides its name.
        for step in anti {
            keep(path(step.2, step.0).map(|rest| [vec![step], rest].concat()));
        }
    } else {
        let mut found = 0;
        for node in component {
            let cycle = path(*node, *node);
            found += usize::from(cycle.is_some());
            keep(cycle);
            if found > STARTS_MAX {
                break;
            }
        }
    }
    best
}

/// A shortest way of at least one step.
fn path(
    graph: &Graph,
    inside: &[bool],
    allowed: fn(&Edge) -> bool,
    from: usize,
    to: usize,
) -> Option<Vec<Step>> {
    let mut reached: Vec<Option<(usize, Edge)>> = vec![None; graph.len()];
    let mut next = VecDeque::from([from]);
    while let Some(node) = next.pop_front() {
        for (neighbour, edge) in &graph[node] {
            if !inside[*neighbour] || !allowed(edge) || reached[*neighbour].is_some() {
                continue;
            }
            reached[*neighbour] = Some((node, *edge));
            if *neighbour == to {
                return Some(walk_back(&reached, from, to));
            }
            next.push_back(*neighbour);
        }
    }
    None
}

fn walk_back(reached: &[Option<(usize, Edge)>], from: usize, to: usize) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut at = to;
    while let Some((before, edge)) = reached[at] {
        steps.push((before, edge, at));
        at = before;
        if at == from {
            break;
        }
    }
    steps.reverse();
    steps
}

fn explain(history: &History, cycle: &[Step], of: usize) -> String {
    let mut text = format!("a cycle of {} among {of} transactions:", cycle.len());
    for (from, _, _) in cycle {
        let _infallible = write!(text, "\n    T{from}: {}", history.txns[*from]);
    }
    for (from, edge, to) in cycle {
        let why = match edge {
            Edge::Ww { key, value, next } => format!("ww: its {value} in {key} is followed by {next}"),
            Edge::Wr { key, value } => format!("wr: its {value} in {key} was read"),
            Edge::Rw { key, next } => format!("rw: it read {key} before {next} was appended"),
            Edge::RealTime => "real time: it had ended when the other began".to_owned(),
        };
        let _infallible = write!(text, "\n    T{from} < T{to}, {why}");
    }
    text
}

/// Strongly connected components of more than one node (Tarjan, without recursion).
fn components(graph: &Graph) -> Vec<Vec<usize>> {
    const UNSEEN: usize = usize::MAX;
    let count = graph.len();
    let neighbours: Vec<Vec<usize>> =
        graph.iter().map(|edges| edges.iter().map(|(to, _)| *to).collect()).collect();
    let (mut index, mut low, mut on_stack) = (vec![UNSEEN; count], vec![0; count], vec![false; count]);
    let (mut stack, mut found, mut clock) = (Vec::new(), Vec::new(), 0);
    for root in 0..count {
        if index[root] != UNSEEN {
            continue;
        }
        // A node, and how many of its neighbours have been looked at.
        let mut calls = vec![(root, 0)];
        while let Some((node, looked_at)) = calls.pop() {
            if looked_at == 0 {
                (index[node], low[node], on_stack[node]) = (clock, clock, true);
                clock += 1;
                stack.push(node);
            } else {
                let returned: usize = neighbours[node][looked_at - 1];
                low[node] = low[node].min(low[returned]);
            }
            let mut at = looked_at;
            let mut descend = None;
            while let Some(to) = neighbours[node].get(at).copied() {
                at += 1;
                if index[to] == UNSEEN {
                    descend = Some(to);
                    break;
                }
                if on_stack[to] {
                    low[node] = low[node].min(index[to]);
                }
            }
            if let Some(to) = descend {
                calls.extend([(node, at), (to, 0)]);
                continue;
            }
            if low[node] == index[node] {
                let mut component = Vec::new();
                while let Some(member) = stack.pop() {
                    on_stack[member] = false;
                    component.push(member);
                    if member == node {
                        break;
                    }
                }
                if component.len() > 1 {
                    component.sort_unstable();
                    found.push(component);
                }
            }
        }
    }
    found
}
