package lower

import "smelt/passes/fusion"

// families is the table of kernel families.
var families = []Family{
	{Kind: fusion.KindLinear, Doc: "products that share an input", Lower: lowerLinear},
	{Kind: fusion.KindIndexTopK, Doc: "the entries an indexer scores highest", Lower: lowerIndexTopK},
	{Kind: fusion.KindAttention, Doc: "attention with a sink over a window and entries", Lower: lowerAttention},
	{Kind: fusion.KindCache, Doc: "vectors normed, rotated, rounded and appended, pooled or not", Lower: lowerCache},
	{Kind: fusion.KindMix, Doc: "residual streams: a half block's result in, the next one's input out", Lower: lowerMix},
	{Kind: fusion.KindExperts, Doc: "routing and the chosen experts' hidden vectors", Lower: lowerExperts},
}
