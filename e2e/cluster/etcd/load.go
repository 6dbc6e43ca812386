package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// figures of one run.
type figures struct {
	rate     float64 // writes a second
	p50, p99 time.Duration
}

// load keeps inFlight puts of distinct keys in flight for span.
func load(ctx context.Context, client *clientv3.Client, inFlight, size int, span time.Duration) (figures, error) {
	ctx, cancel := context.WithTimeout(ctx, span+startTimeout)
	defer cancel()
	var (
		mu    sync.Mutex
		took  []time.Duration
		fault error
		wg    sync.WaitGroup
		value = strings.Repeat("x", size)
		begin = time.Now()
	)
	for worker := range inFlight {
		wg.Go(func() {
			var mine []time.Duration
			var err error
			for i := 0; time.Since(begin) < span && err == nil; i++ {
				from := time.Now()
				_, err = client.Put(ctx, fmt.Sprintf("%d/%d/%d", inFlight, worker, i), value)
				mine = append(mine, time.Since(from))
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, mine...)
			if err != nil {
				fault = err
			}
		})
	}
	wg.Wait()
	elapsed := time.Since(begin)
	if fault != nil {
		return figures{}, fmt.Errorf("put with %d in flight: %w", inFlight, fault)
	}
	slices.Sort(took)
	return figures{float64(len(took)) / elapsed.Seconds(), took[len(took)/2], took[len(took)*99/100]}, nil
}
