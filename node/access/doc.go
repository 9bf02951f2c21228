// Package access says who may do what: callers and how they are told apart,
// tokens, and the rules. It decides from what it is given and reads nothing
// itself; node, whose exported methods ask it, gives it what the index holds.
//
// Table.Allows is the one function that says yes or no. Nothing is allowed that
// no rule allows: there are no rules that forbid.
package access
