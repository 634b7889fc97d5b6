//! The command line: what each command prints, and its exit code (0 yes, 1 no, 64 operator's mistake, 70 fault).

mod check;
mod compose;
mod eval;
mod help;
mod inspect;
mod mint;
mod serve;
mod status;
mod swap;
