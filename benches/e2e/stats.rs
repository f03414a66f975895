//! Owns the arithmetic: percentiles, summaries, paired differences.
//! Does not measure, print or know what was measured.
//! Always: latencies are nanoseconds; an empty sample has no percentile.

/// What one run of a workload measured.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample {
    /// One latency per completed operation, in nanoseconds, in no order.
    pub latencies_ns: Vec<u64>,
    /// Length of the measured window, in seconds.
    pub seconds: f64,
    /// Bytes of replies inside the window.
    pub bytes: u64,
}

/// A sample in a few numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct Summary {
    /// Completed operations.
    pub count: u64,
    /// Mean latency, µs. Where all connections keep the CPUs busy, it is fairer than the median: it cannot
    /// be made small by serving a few connections fast and letting the others wait.
    pub mean_us: f64,
    /// Median latency, µs.
    pub p50_us: f64,
    /// 95th percentile, µs.
    pub p95_us: f64,
    /// 99th percentile, µs.
    pub p99_us: f64,
    /// Operations per second.
    pub per_second: f64,
    /// Reply bytes per second, in MiB.
    pub mib_per_second: f64,
}

impl Sample {
    /// The sample in a few numbers; `None` if nothing completed.
    pub fn summary(&self) -> Option<Summary> {
        let mut sorted = self.latencies_ns.clone();
        sorted.sort_unstable();
        let at = |share| percentile(&sorted, share).map(|nanoseconds| nanoseconds as f64 / 1e3);
        Some(Summary {
            count: sorted.len() as u64,
            mean_us: ratio(sorted.iter().sum::<u64>() as f64 / 1e3, sorted.len() as f64),
            p50_us: at(0.50)?,
            p95_us: at(0.95)?,
            p99_us: at(0.99)?,
            per_second: ratio(sorted.len() as f64, self.seconds),
            mib_per_second: ratio(self.bytes as f64 / f64::from(1 << 20), self.seconds),
        })
    }

    /// Adds another window of the same workload.
    pub fn merge(&mut self, other: &Self) {
        self.latencies_ns.extend_from_slice(&other.latencies_ns);
        self.seconds += other.seconds;
        self.bytes += other.bytes;
    }
}

/// `part / whole`, 0 for an empty whole.
pub fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// Nearest rank: the smallest value that at least `share` of the sorted values do not exceed.
pub fn percentile(sorted: &[u64], share: f64) -> Option<u64> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1).min(sorted.len().checked_sub(1)?)).copied()
}

/// Middle value and the half of all values around it.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Spread {
    /// Median of the rounds.
    pub median: f64,
    /// First quartile.
    pub low: f64,
    /// Third quartile.
    pub high: f64,
}

impl Spread {
    /// Of any number of values; quartiles and median are interpolated between neighbours.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| {
            let position = share * sorted.len().checked_sub(1)? as f64;
            let (low, high) = (sorted[position.floor() as usize], sorted[position.ceil() as usize]);
            Some(low + (high - low) * position.fract())
        };
        Some(Self { median: at(0.5)?, low: at(0.25)?, high: at(0.75)? })
    }

    /// Whether zero lies in the middle half: the sign of the median is then not worth much.
    pub fn straddles_zero(&self) -> bool {
        self.low <= 0.0 && self.high >= 0.0
    }
}

/// Round by round `ours - theirs`, for the rounds in which both were measured. Pairing removes the machine's slow drift.
pub fn paired(ours: &[Option<f64>], theirs: &[Option<f64>], combine: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    ours.iter().zip(theirs).filter_map(|(our, their)| Some(combine((*our)?, (*their)?))).collect()
}
