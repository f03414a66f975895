//! Owns the meaning of Dolt's error texts, as named predicates: most of them come as 1105/HY000.
