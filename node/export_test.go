package node

// WithoutMending opens a node that does not mend its copies of the log, to show
// what mending is for.
func (o Options) WithoutMending() Options {
	o.noMend = true
	return o
}

// Reserve sets how many bytes a node keeps free.
func (n *Node) Reserve(bytes uint64) { n.space.reserve = bytes }
