//! How long the classifier takes: `cargo bench --bench classifier`.

use std::hint::black_box;
use std::time::Instant;

use branchline::statement::classify::summarize;

const BYTES_PER_ROUND: usize = 50_000_000;

fn main() {
    let select =
        "SELECT `id`, title, status FROM issues WHERE status = 'open' AND assignee = 'polecat-7' LIMIT 12";
    let mut insert = String::from("INSERT INTO issues (id, title, priority) VALUES ");
    while insert.len() < 64 * 1024 {
        insert.push_str("('gt-1a2b', 'a title of a usual length', 3),");
    }
    let blob = format!("INSERT INTO files VALUES (1, '{}')", "x".repeat(64 * 1024));
    for (name, text) in
        [("point select", select), ("insert of many rows", &insert), ("insert of one blob", &blob)]
    {
        let rounds = BYTES_PER_ROUND / text.len();
        let start = Instant::now();
        for _ in 0..rounds {
            black_box(summarize(black_box(text.as_bytes()), true));
        }
        println!("{name}: {} bytes in {:?}", text.len(), start.elapsed() / rounds as u32);
    }
}
