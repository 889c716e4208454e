//! Models learned from generated workloads: what a policy starts with.
//! Found by an earlier search of the kind of `cargo run --release -p ostler-benches --bin prior`, which
//! writes this file anew; do not edit by hand.

#![allow(clippy::approx_constant, reason = "weights, not constants of nature")]

use crate::WEIGHTS;

/// Learned from workloads of every kind: loops, scans, skewed popularity, shifts and bursts.
pub const PRIOR: [f32; WEIGHTS] = [
    0.4829, -0.2615, -0.0652, 0.1916, 0.2390, -0.1453, -0.0091, -0.0263, -0.0123, 0.2385, 0.2230,
    0.0539, 0.0754, -0.0583, 0.0207, -0.2354, 0.2856, 0.0387, -0.5310, -0.0488, -0.1462, 0.0725,
    0.1080, 0.0627, 0.1121, -0.0284, 0.0804, 0.1490, 0.0403, -0.2479, 0.2339, -0.0314,
];

/// Learned from workloads in which loops and scans prevail.
pub const LOOPS: [f32; WEIGHTS] = [
    0.3457, -0.4042, -0.3993, -0.3180, 0.5245, -0.0125, -0.7345, 0.0240, 0.1914, 0.4941, -0.4657,
    -1.0771, 0.1717, -0.2632, -0.0352, -0.5503, -0.4038, -0.2335, -1.0173, -0.1175, 0.4687, 0.2663,
    -0.3714, -0.1524, 0.1313, 0.4499, 0.0040, 0.2247, -0.2371, -0.1459, 0.1069, 0.4927,
];
