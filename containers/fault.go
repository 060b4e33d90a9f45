package containers

import (
	"context"
	"errors"
	"fmt"

	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
)

// Pause freezes all processes of the container: connections stay open, new ones
// are still accepted by the kernel or by docker-proxy, and nothing is answered.
func (srv *Server) Pause(ctx context.Context) error {
	_, err := srv.docker.api.ContainerPause(ctx, srv.GetContainerID(), client.ContainerPauseOptions{})
	return srv.fault("Pause", err)
}

// Unpause ends Pause.
func (srv *Server) Unpause(ctx context.Context) error {
	_, err := srv.docker.api.ContainerUnpause(ctx, srv.GetContainerID(), client.ContainerUnpauseOptions{})
	return srv.fault("Unpause", err)
}

// Kill ends all processes of the container with SIGKILL. The container stays,
// as do its files but for those on a tmpfs; [Server.Restart] starts it again.
func (srv *Server) Kill(ctx context.Context) error {
	_, err := srv.docker.api.ContainerKill(ctx, srv.GetContainerID(), client.ContainerKillOptions{Signal: "SIGKILL"})
	return srv.fault("Kill", err)
}

// Restart stops the container, if it is running, and starts it again. The
// server has two seconds to end after SIGTERM. Restart returns when the server
// has sent its greeting. On this machine it has the same address as before.
func (srv *Server) Restart(ctx context.Context) error {
	seconds := int(stopTime.Seconds())
	if _, err := srv.docker.api.ContainerRestart(ctx, srv.GetContainerID(), client.ContainerRestartOptions{Timeout: &seconds}); err != nil {
		return srv.fault("Restart", err)
	}
	if err := srv.findAddrs(ctx); err != nil {
		return srv.fault("Restart", err)
	}
	return srv.fault("Restart", srv.await(ctx))
}

// await waits for the greeting of a server that was away.
func (srv *Server) await(ctx context.Context) error {
	again := &greeting{port: srv.greeting.port, tls: srv.greeting.tls, timeout: srv.startTimeout}
	return again.WaitUntilReady(ctx, srv.Container)
}

// An attachment is one of a container to a network.
type attachment struct {
	networkID string
	aliases   []string
}

// Disconnect takes the container from its networks: packets to it and from it
// are lost, established connections hang or are closed by docker-proxy. It is
// not possible with WithHostNetwork.
func (srv *Server) Disconnect(ctx context.Context) error {
	if srv.hostNetwork {
		return srv.fault("Disconnect", errors.New("a container in the network of the host (WithHostNetwork) has none that it could be taken from"))
	}
	info, err := srv.Inspect(ctx)
	if err != nil {
		return srv.fault("Disconnect", err)
	}
	if len(info.NetworkSettings.Networks) == 0 {
		return srv.fault("Disconnect", errors.New("it is not in a network"))
	}
	for name, n := range info.NetworkSettings.Networks {
		id := n.NetworkID
		if id == "" {
			id = name
		}
		// Force: whatever state the container is in.
		_, err := srv.docker.api.NetworkDisconnect(ctx, id, client.NetworkDisconnectOptions{Container: srv.GetContainerID(), Force: true})
		if err != nil {
			return srv.fault("Disconnect", err)
		}
		srv.mu.Lock()
		srv.networks = append(srv.networks, attachment{id, n.Aliases})
		srv.mu.Unlock()
	}
	return nil
}

// Reconnect ends Disconnect, and returns when the server has sent its greeting.
// On this machine it has the same address as before.
func (srv *Server) Reconnect(ctx context.Context) error {
	srv.mu.Lock()
	networks := srv.networks
	srv.networks = nil
	srv.mu.Unlock()
	if len(networks) == 0 {
		return srv.fault("Reconnect", errors.New("Disconnect has not been called"))
	}
	for i, n := range networks {
		opts := client.NetworkConnectOptions{Container: srv.GetContainerID()}
		if len(n.aliases) > 0 { // the default bridge network knows none
			opts.EndpointConfig = &network.EndpointSettings{Aliases: n.aliases}
		}
		if _, err := srv.docker.api.NetworkConnect(ctx, n.networkID, opts); err != nil {
			srv.mu.Lock()
			srv.networks = append(srv.networks, networks[i:]...)
			srv.mu.Unlock()
			return srv.fault("Reconnect", err)
		}
	}
	if err := srv.findAddrs(ctx); err != nil {
		return srv.fault("Reconnect", err)
	}
	return srv.fault("Reconnect", srv.await(ctx))
}

func (srv *Server) fault(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("containers: %s: %s: %w", srv.name, what, srv.gone(err))
}
