// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using Tidemark.Lab;
using Tidemark.Libvirt.Native;

namespace Tidemark.Libvirt.Tests;

public sealed class ConnectionTests(HostFixture fixture)
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task OpenHost_TellsWhoItIs()
    {
        await using var connection = await LibvirtConnection.OpenAsync(fixture.Host.Uri, cancellationToken: Token);

        Assert.True(connection.IsAlive);
        Assert.Equal(fixture.Host.Uri, connection.Uri);
        Assert.NotEmpty(await connection.GetHostnameAsync(Token));
        Assert.Contains("<uuid>", await connection.GetCapabilitiesAsync(Token), StringComparison.Ordinal);
        Assert.Contains("<backup supported='yes'/>", await connection.GetDomainCapabilitiesAsync("qemu", Token), StringComparison.Ordinal);
        Assert.Equal(LibvirtConnection.ClientVersion, await connection.GetLibraryVersionAsync(Token));
        Assert.True(LibvirtConnection.ClientVersion.Major >= 7);
    }

    [Fact]
    public async Task HostInsideTheProcess_NeedsNoDaemon()
    {
        await using var connection = await LibvirtConnection.OpenAsync("test:///default", cancellationToken: Token);

        var domain = Assert.Single(await connection.ListDomainsAsync(Token));

        Assert.Equal("test", domain.Name);
        Assert.Equal(DomainState.Running, (await domain.GetStatusAsync(Token)).State);
        using var events = await connection.SubscribeAsync(domain.Uuid, Token);
        await domain.SuspendAsync(Token);
        var suspended = await events.WaitForAsync<LifecycleEvent>(Patience, cancellationToken: Token);
        Assert.Equal((LifecycleChange.Suspended, false), (suspended.Change, suspended.IsIoErrorPause));
        Assert.Equal((domain.Uuid, "test"), (suspended.Uuid, suspended.Name));
    }

    [Theory]
    [InlineData("qemu+unix:///session?socket=/nowhere/libvirt-sock")]
    [InlineData("nonsense:///")]
    public async Task UnreachableHost_ThrowsConnectionException(string uri)
    {
        var exception = await Assert.ThrowsAsync<LibvirtConnectionException>(
            () => LibvirtConnection.OpenAsync(uri, cancellationToken: Token));

        Assert.Contains(uri, exception.Message, StringComparison.Ordinal);
        Assert.NotEmpty(exception.LibvirtMessage);
    }

    [Fact]
    public void MissingLibrary_NamesThePackage()
    {
        var exception = Assert.Throws<LibvirtMissingException>(() => LibvirtLibrary.RequireInstalled("libvirt-not-there.so.0"));

        Assert.Contains("libvirt0", exception.Message, StringComparison.Ordinal);
        Assert.Contains("libvirt-not-there.so.0", exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task CancelledBeforeTheCall_Throws()
    {
        await Assert.ThrowsAnyAsync<OperationCanceledException>(
            () => fixture.Host.Connection.ListDomainsAsync(new CancellationToken(canceled: true)));
    }

    [Fact]
    public async Task DisposedConnection_RefusesCalls()
    {
        var connection = await LibvirtConnection.OpenAsync(fixture.Host.Uri, cancellationToken: Token);
        var events = await connection.SubscribeAsync(Guid.NewGuid(), Token);
        await connection.DisposeAsync();
        await connection.DisposeAsync();

        Assert.False(connection.IsAlive);
        await Assert.ThrowsAsync<ObjectDisposedException>(() => connection.ListDomainsAsync(Token));
        await Assert.ThrowsAsync<ObjectDisposedException>(() => events.WaitForAsync<LibvirtEvent>(Patience, cancellationToken: Token));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task RestartedDaemon_IsLostAndFound(bool kill)
    {
        await using var host = await LabHost.StartAsync(Token);
        var machine = await LabMachine.DefineAsync(host, "stays", new LabDisk("vda", 1 << 20));
        await using var connection = await LibvirtConnection.OpenAsync(host.Uri, cancellationToken: Token);
        var domain = await connection.GetDomainAsync("stays", Token);
        using var events = await connection.SubscribeAsync(domain.Uuid, Token);

        await host.StopDaemonAsync(kill, Token);
        var lost = await events.WaitForAsync<ConnectionLostEvent>(Patience, cancellationToken: Token);
        Assert.Equal(CloseReason.EndOfFile, lost.Reason);
        Assert.False(connection.IsAlive);
        await Assert.ThrowsAsync<LibvirtConnectionException>(() => domain.GetStatusAsync(Token));
        await Assert.ThrowsAsync<LibvirtConnectionException>(() => connection.ReopenAsync(TimeSpan.Zero, Token));

        var reopened = connection.ReopenAsync(Patience, Token);
        await host.StartDaemonAsync(Token);
        await reopened;
        await events.WaitForAsync<ConnectionReopenedEvent>(Patience, cancellationToken: Token);
        Assert.Equal(DomainState.Paused, (await domain.GetStatusAsync(Token)).State);
        await machine.Domain.ResumeAsync(Token);
        await events.WaitForAsync<LifecycleEvent>(Patience, change => change.Change == LifecycleChange.Resumed, Token);
        await connection.ReopenAsync(TimeSpan.Zero, Token);
    }

    /// <summary>libvirt keeps the last error per thread: calls side by side must not read each other's.</summary>
    [Fact]
    public async Task FailuresSideBySide_KeepTheirOwnMessages()
    {
        var failures = Enumerable.Range(0, 64).Select(async number =>
        {
            var name = $"nobody-{number}";
            var exception = await Assert.ThrowsAsync<LibvirtNotFoundException>(() => fixture.Host.Connection.GetDomainAsync(name, Token));
            Assert.Contains($"'{name}'", exception.LibvirtMessage, StringComparison.Ordinal);
        });

        await Task.WhenAll(failures);
    }

    /// <summary>Domains and event registrations hold references to the native connection; a forgotten one keeps its socket open.</summary>
    [Fact]
    public async Task DisposedConnections_CloseTheirSockets()
    {
        await using var host = await LabHost.StartAsync(Token);
        await LabMachine.DefineAsync(host, "referred", new LabMachineOptions { Start = false }, [], Token);
        var before = SocketsOf(host);
        for (var round = 0; round < 20; round++)
        {
            await using var connection = await LibvirtConnection.OpenAsync(host.Uri, cancellationToken: Token);
            using var events = await connection.SubscribeAsync(cancellationToken: Token);
            await (await connection.GetDomainAsync("referred", Token)).GetXmlAsync(cancellationToken: Token);
            await Assert.ThrowsAsync<LibvirtNotFoundException>(() => connection.GetDomainAsync("nobody", Token));
            Assert.True(SocketsOf(host) > before);
        }

        var clock = TimeProvider.System.GetTimestamp();
        while (SocketsOf(host) > before && TimeProvider.System.GetElapsedTime(clock) < Patience)
            await Task.Delay(20, Token);
        Assert.Equal(before, SocketsOf(host));
    }

    /// <summary>The library prints every error to stderr unless it is told not to; only a process of its own shows that.</summary>
    [Fact]
    public async Task FailingCalls_PrintNothing()
    {
        var start = new ProcessStartInfo(Environment.ProcessPath!)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        };
        string[] arguments =
        [
            "exec", typeof(ConnectionTests).Assembly.Location,
            "-method", "*.UnreachableHost_ThrowsConnectionException", "-method", "*.UnknownDomain_ThrowsNotFound",
        ];
        foreach (var argument in arguments)
            start.ArgumentList.Add(argument);
        using var process = Process.Start(start)!;
        var errors = process.StandardError.ReadToEndAsync(Token);
        var output = await process.StandardOutput.ReadToEndAsync(Token);
        await process.WaitForExitAsync(Token);

        Assert.Equal(0, process.ExitCode);
        Assert.Contains("Total: 3, Errors: 0, Failed: 0, Skipped: 0", output, StringComparison.Ordinal);
        Assert.DoesNotContain("libvirt:", output, StringComparison.Ordinal);
        Assert.Empty(await errors);
    }

    // The daemon's end of a connection carries the path it was accepted on.
    private static int SocketsOf(LabHost host)
    {
        var path = host.Uri[(host.Uri.IndexOf('=', StringComparison.Ordinal) + 1)..];
        return File.ReadLines("/proc/net/unix").Count(line => line.EndsWith(path, StringComparison.Ordinal));
    }
}
