//! Ostler's live cache beside the published in-process caches, measured the same way.
//!
//! [`contender`] is what every cache has to offer, [`rivals`] the published ones, [`ours`] Ostler's,
//! [`dash_engine`] the engine that Ostler might have had, [`roster`] all of them as rows; [`workload`]
//! writes the requests beforehand, [`measure`] plays them, [`footprint`] weighs a full cache, [`plan`] says
//! which cells are measured and [`pace`] how often, [`report`] and [`plot`] write what came out.

pub mod contender;
pub mod dash_engine;
pub mod footprint;
pub mod measure;
pub mod ours;
pub mod pace;
pub mod place;
pub mod plan;
pub mod plot;
pub mod report;
pub mod rivals;
pub mod roster;
pub mod workload;
