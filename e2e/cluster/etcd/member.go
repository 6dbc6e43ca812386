package main

import (
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"syscall"

	"go.etcd.io/etcd/api/v3/version"
	"go.etcd.io/etcd/server/v3/embed"
)

var etcdVersion = version.Version

// member runs one etcd server with its defaults, fsync included, until it is ended.
func member(args []string) error {
	flags := flag.NewFlagSet("etcd member", flag.ContinueOnError)
	name := flags.String("name", "", "the member's name")
	dir := flags.String("dir", "", "its data")
	client := flags.String("client", "", "URL for clients")
	peer := flags.String("peer", "", "URL for members")
	cluster := flags.String("cluster", "", "NAME=URL,… of all members")
	if err := flags.Parse(args); err != nil {
		return err
	}
	c, err := url.Parse(*client)
	if err != nil {
		return err
	}
	p, err := url.Parse(*peer)
	if err != nil {
		return err
	}
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir = *name, *dir
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{*c}, []url.URL{*c}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{*p}, []url.URL{*p}
	cfg.InitialCluster = *cluster
	cfg.LogLevel = "warn"
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return err
	}
	defer e.Close()
	end := make(chan os.Signal, 1)
	signal.Notify(end, os.Interrupt, syscall.SIGTERM)
	select {
	case <-end:
		return nil
	case err := <-e.Err():
		return fmt.Errorf("member %s: %w", *name, err)
	case <-e.Server.StopNotify():
		return errors.New("the server stopped by itself")
	}
}
