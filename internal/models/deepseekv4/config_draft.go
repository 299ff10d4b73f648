package deepseekv4

import (
	"fmt"
	"slices"

	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/strictjson"
)

// readDraftRatios takes what compress_ratios has beyond the layers for draft stages.
// Releases with three of them leave num_nextn_predict_layers at 1, and conversions that
// drop the stages set it to 0 and often leave the entries: the numbers need not agree if
// the entries are zero. Any others are more likely layers.
func readDraftRatios(top *strictjson.Object, c *Config, spare []int) bool {
	n, counted := len(spare), c.MTPLayers
	dropped := counted == 0 && n == 1 // of one stage, whatever its ratio
	if n != counted && !dropped && slices.ContainsFunc(spare, func(r int) bool { return r != 0 }) {
		top.Wrong("compress_ratios", fmt.Sprintf("%d entries", c.Layers+n),
			fmt.Sprintf("num_hidden_layers (%d), or that and num_nextn_predict_layers (%d) more; other numbers are draft stages' only if they are 0", c.Layers, counted))
		return false
	}
	if counted > 0 {
		c.MTPLayers = max(counted, n)
	}
	c.MTPRatios = make([]int, c.MTPLayers)
	copy(c.MTPRatios, spare) // none of which are left if the stages were dropped
	if n != counted {
		noteDraftRatios(top, n, counted)
	}
	return true
}

// noteDraftRatios says what is made of n entries for a number of stages that is another.
func noteDraftRatios(top *strictjson.Object, n, counted int) {
	found := fmt.Sprintf("compress_ratios has %s beyond the layers", message.Count(n, "number"))
	switch {
	case counted == 0 && n == 1:
		top.Note(found + ", but num_nextn_predict_layers is 0; it is left out")
	case counted == 0:
		top.Note(found + ", but num_nextn_predict_layers is 0; they are left out")
	case n < counted:
		top.Note(fmt.Sprintf("%s, num_nextn_predict_layers is %d; ratio 0 is taken for draft stages without a number", found, counted))
	default:
		top.Note(fmt.Sprintf("%s, num_nextn_predict_layers is %d; %s are taken, which smelt does not use yet", found, counted, message.Count(n, "draft stage")))
	}
}
