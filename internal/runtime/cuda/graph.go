package cuda

import (
	"errors"
	"slices"
	"time"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/runtime/cuda/driver"
	"smelt.example/smelt/internal/runtime/device"
)

// graphs are a decode step's: one for each number of rows, made when it first comes.
// What grids depend on beside rows, the context's length and blocks that close, moves
// few nodes of a graph, which are updated before it is played; so that the graph for a
// step is the one with the fewest nodes to update. A dispatch that has threadgroups for
// other numbers of rows alone has no node.
type graphs struct {
	s     *step
	rows  []bool // dispatches whose grids depend on rows alone; nil until it is known
	list  []*graph
	last  *graph // that was played
	stats device.Graphs
}

// graph is ready to play.
type graph struct {
	whole driver.Graph // what exec was made of: its nodes name those of exec
	exec  driver.Exec
	nodes []driver.Node // 0: there is none
	grids [][3]int64    // that the nodes have

	absent int // dispatches without a node
}

// maxGraphs are one for each number of rows.
const maxGraphs = program.MaxDecodeRows

// share of a graph's nodes that are updated before another graph is made.
const share = 3

func (g *graphs) play(grids [][3]int64) error {
	start := time.Now()
	if g.rows == nil {
		for _, d := range g.s.plan.Dispatches {
			_, alone := g.s.plan.RowsAlone(d)
			g.rows = append(g.rows, alone)
		}
	}
	best, changes := g.nearest(grids)
	if best == nil || changes > len(grids)/share && len(g.list) < maxGraphs {
		made, err := g.make(grids)
		if err != nil {
			return err
		}
		g.list = append(g.list, made)
		g.stats.Made++
		best = made
	} else {
		if err := g.update(best, grids); err != nil {
			return err
		}
		g.stats.Updated += changes
		g.stats.Elapsed += time.Since(start)
	}
	g.last = best
	g.stats.Steps++
	g.stats.Nodes += len(grids) - best.absent
	return g.s.m.api.Play(best.exec, g.s.m.stream)
}

// nearest is the graph with the fewest nodes whose grids differ, of those that have the
// nodes.
func (g *graphs) nearest(grids [][3]int64) (best *graph, changes int) {
	for _, x := range g.list {
		n, lacks := 0, false
		for i, grid := range x.grids {
			if grid != grids[i] {
				n++
				lacks = lacks || x.nodes[i] == 0
			}
		}
		if !lacks && (best == nil || n < changes) {
			best, changes = x, n
		}
	}
	return best, changes
}

// make builds a graph of all dispatches, each after those before the last barrier.
func (g *graphs) make(grids [][3]int64) (x *graph, err error) {
	api := g.s.m.api
	x = &graph{grids: slices.Clone(grids)}
	if x.whole, err = api.NewGraph(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, x.close(api))
		}
	}()
	var level, before []driver.Node // since the last barrier, and those that it waits for
	for i := range grids {
		if g.s.plan.Dispatches[i].Barrier && len(level) > 0 {
			before, level = level, nil
		}
		j := &g.s.jobs[i]
		if !j.size(grids[i]) {
			if g.rows[i] {
				x.nodes = append(x.nodes, 0)
				x.absent++
				continue
			}
			j.Grid = [3]uint32{1, 1, 1} // a node needs some, and is disabled below
		}
		n, err := api.Add(x.whole, &j.Launch, before)
		if err != nil {
			return nil, err
		}
		x.nodes = append(x.nodes, n)
		level = append(level, n)
	}
	if x.exec, err = api.Instantiate(x.whole); err != nil {
		return nil, err
	}
	for i, n := range x.nodes {
		if n != 0 && !work(grids[i]) {
			if err := api.Enable(x.exec, n, false); err != nil {
				return nil, err
			}
		}
	}
	return x, nil
}

func work(grid [3]int64) bool { return grid[0] != 0 && grid[1] != 0 && grid[2] != 0 }

// update gives nodes the grids of the step.
func (g *graphs) update(x *graph, grids [][3]int64) error {
	api := g.s.m.api
	for i, grid := range grids {
		if grid == x.grids[i] {
			continue
		}
		j := &g.s.jobs[i]
		if j.size(grid) {
			if err := api.Update(x.exec, x.nodes[i], &j.Launch); err != nil {
				return err
			}
		}
		if work(grid) != work(x.grids[i]) {
			if err := api.Enable(x.exec, x.nodes[i], work(grid)); err != nil {
				return err
			}
		}
		x.grids[i] = grid
	}
	return nil
}

func (g *graphs) close() error {
	var errs []error
	for _, x := range g.list {
		errs = append(errs, x.close(g.s.m.api))
	}
	return errors.Join(errs...)
}

func (x *graph) close(api *driver.API) (err error) {
	if x.exec != 0 {
		err = api.CloseExec(x.exec)
	}
	return errors.Join(err, api.CloseGraph(x.whole))
}
