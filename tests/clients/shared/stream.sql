SELECT a.d + 10 * b.d + 100 * c.d + 1000 * d.d + 10000 * e.d AS n, REPEAT('row', b.d) AS s, IF(a.d = 3, NULL, c.d * 1.5) AS f FROM digits e, digits d, digits c, digits b, digits a
