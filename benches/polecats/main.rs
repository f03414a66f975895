//! Fifty polecats' day beside naive commands at plain Dolt: `cargo bench --bench polecats`. The goal is a ratio of at
//! most 1.3 per merge; the document that the project implements says 250 commits in 2 s and 50 merges in 312 ms.

mod day;
#[path = "../../tests/support/mod.rs"]
mod support;

use support::branchline::Branchline;
use support::plain::PlainDolt;

const ROUNDS: usize = 5;

fn main() {
    let mut ratios = Vec::new();
    println!("the document: 250 commits in 2 s, 50 merges in 312 ms");
    for round in 1..=ROUNDS {
        let naive = day::naively(&PlainDolt::start());
        let here = day::through_branchline(&Branchline::start());
        let ratio = here.merges.as_secs_f64() / naive.merges.as_secs_f64();
        println!(
            "round {round}\n  naive       {naive}\n  branchline  {here}\n  per merge {ratio:.2} x naive"
        );
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    println!("per merge, median of {ROUNDS}: {:.2} x naive (goal: at most 1.3)", ratios[ROUNDS / 2]);
}
