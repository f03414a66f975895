//! Rules by table, and properties of them.
