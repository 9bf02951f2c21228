package node_test

import (
	"context"
	"errors"
	"testing"
	"time"
)

// What a decision writes belongs to who proposed it, as soon as that has an answer.
func TestNobodyDecidesForWhoHasLeft(t *testing.T) {
	n, _ := newNode(t, nil)
	ctx, leave := context.WithCancel(t.Context())
	begun, end := make(chan struct{}), make(chan struct{})
	steps := 0
	answered := make(chan error, 1)
	go func() {
		answered <- n.Propose(ctx, func() {
			steps++
			close(begun)
			<-end
			steps++
		})
	}()
	<-begun
	leave()
	select {
	case err := <-answered:
		t.Errorf("answered with %v while it is being decided", err)
		close(end)
		return
	case <-time.After(10 * time.Millisecond):
		close(end)
	}
	if err := <-answered; !errors.Is(err, context.Canceled) && err != nil || steps != 2 {
		t.Errorf("after %d steps of 2: %v", steps, err)
	}
	if err := n.Propose(ctx, func() { t.Error("it decides for who has left") }); !errors.Is(err, context.Canceled) {
		t.Errorf("proposed by who has left: %v", err)
	}
}
