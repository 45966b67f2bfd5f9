// SPDX-License-Identifier: Apache-2.0
using Tidemark.Lab;
using Tidemark.Libvirt.Xml;

namespace Tidemark.Libvirt.Tests;

public sealed class DomainTests(HostFixture fixture)
{
    private const long Mebibyte = 1 << 20;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Life_IsSeenInStatesAndEvents()
    {
        var options = new LabMachineOptions { Start = false };
        var machine = await LabMachine.DefineAsync(fixture.Host, "life", options, [new LabDisk("vda", Mebibyte)], Token);
        var domain = machine.Domain;
        using var events = await fixture.Host.Connection.SubscribeAsync(domain.Uuid, Token);
        Assert.Equal(DomainState.ShutOff, (await domain.GetStatusAsync(Token)).State);
        Assert.False((await domain.GetStatusAsync(Token)).IsActive);
        Assert.True(await domain.IsPersistentAsync(Token));

        await domain.StartAsync(DomainStartFlags.Paused, Token);
        Assert.Equal(DomainState.Paused, (await domain.GetStatusAsync(Token)).State);
        await domain.ResumeAsync(Token);
        Assert.Equal(DomainState.Running, (await domain.GetStatusAsync(Token)).State);
        await domain.SuspendAsync(Token);
        await domain.DestroyAsync(Token);
        await domain.UndefineAsync(cancellationToken: Token);

        LifecycleChange[] expected =
        [
            LifecycleChange.Started, LifecycleChange.Resumed, LifecycleChange.Suspended, LifecycleChange.Stopped, LifecycleChange.Undefined,
        ];
        foreach (var change in expected)
            await events.WaitForAsync<LifecycleEvent>(Patience, candidate => candidate.Change == change, Token);
        await Assert.ThrowsAsync<LibvirtNotFoundException>(() => domain.GetStatusAsync(Token));
    }

    [Fact]
    public async Task UnknownDomain_ThrowsNotFound()
    {
        var connection = fixture.Host.Connection;
        var byName = await Assert.ThrowsAsync<LibvirtNotFoundException>(() => connection.GetDomainAsync("nobody-knows", Token));
        var byUuid = await Assert.ThrowsAsync<LibvirtNotFoundException>(() => connection.GetDomainAsync(Guid.Empty, Token));

        Assert.Equal(LibvirtErrorCode.NoDomain, byName.Code);
        Assert.Equal(LibvirtErrorCode.NoDomain, byUuid.Code);
        Assert.StartsWith("Cannot find domain 'nobody-knows': ", byName.Message, StringComparison.Ordinal);
        Assert.Contains(byName.LibvirtMessage, byName.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task List_HasActiveAndInactiveByName()
    {
        await LabMachine.DefineAsync(fixture.Host, "list-b", new LabDisk("vda", Mebibyte));
        await LabMachine.DefineAsync(fixture.Host, "list-a", new LabMachineOptions { Start = false }, [], Token);

        var domains = await fixture.Host.Connection.ListDomainsAsync(Token);
        var found = await fixture.Host.Connection.GetDomainAsync(domains.Single(domain => domain.Name is "list-a").Uuid, Token);

        var names = domains.Select(domain => domain.Name).Where(name => name.StartsWith("list-", StringComparison.Ordinal));
        Assert.Equal("list-a list-b", string.Join(' ', names));
        Assert.Equal("list-a", found.Name);
    }

    [Fact]
    public async Task InvalidDefinition_IsRefusedWithItsCode()
    {
        const string Xml =
            "<domain type='qemu'><name>bad</name><memory>65536</memory><os><type arch='x86_64'>hvm</type></os><nonsense/></domain>";
        var connection = fixture.Host.Connection;

        var schema = await Assert.ThrowsAsync<LibvirtException>(() => connection.DefineDomainAsync(Xml, validate: true, Token));
        var root = await Assert.ThrowsAsync<LibvirtException>(() => connection.DefineDomainAsync("<network/>", cancellationToken: Token));

        Assert.Equal(LibvirtErrorCode.XmlInvalidSchema, schema.Code);
        Assert.Equal(LibvirtErrorCode.XmlError, root.Code);
    }

    [Fact]
    public async Task LiveXml_DescribesTheDisks()
    {
        var machine = await LabMachine.DefineAsync(
            fixture.Host,
            "described",
            new LabMachineOptions { AgentChannel = true },
            [
                new LabDisk("vda", Mebibyte) { Serial = "serial-1" },
                new LabDisk("vdb", Mebibyte) { Format = "raw", IsShareable = true },
                new LabDisk("vdc", Mebibyte) { IsReadOnly = true },
                new LabDisk("hdc", null) { Format = "raw", Bus = "ide", Device = "cdrom", IsEmpty = true, IsReadOnly = true },
            ],
            Token);

        var live = await machine.DescribeAsync(Token);
        var inactive = DomainDescription.Parse(await machine.Domain.GetXmlAsync(DomainXmlFlags.Inactive, Token));

        Assert.Equal(("described", machine.Domain.Uuid, "qemu"), (live.Name, live.Uuid, live.HypervisorType));
        Assert.Equal("hdc vda vdb vdc", string.Join(' ', live.Disks.Select(disk => disk.Target).Order(StringComparer.Ordinal)));
        var vda = live.Disks.Single(disk => disk.Target == "vda");
        Assert.Equal(("qcow2", "virtio", "serial-1", machine.ImagePath("vda")), (vda.Format, vda.Bus, vda.Serial, vda.Source.Path));
        Assert.NotNull(vda.Source.Index);
        Assert.Null(inactive.Disks.Single(disk => disk.Target == "vda").Source.Index);
        Assert.True(live.Disks.Single(disk => disk.Target == "vdb").IsShareable);
        Assert.True(live.Disks.Single(disk => disk.Target == "vdc").IsReadOnly);
        var cdrom = live.Disks.Single(disk => disk.Target == "hdc");
        Assert.Equal((DiskDevice.Cdrom, DiskSourceKind.None), (cdrom.Device, cdrom.Source.Kind));
        Assert.Equal((true, false), (live.HasAgentChannel, live.IsAgentConnected));
    }

    [Fact]
    public async Task BlockInfo_FollowsWritesAndResizes()
    {
        var machine = await LabMachine.DefineAsync(fixture.Host, "blocks", new LabDisk("vda", 4 * Mebibyte));
        var before = await machine.Domain.GetBlockInfoAsync("vda", Token);
        await machine.WriteAsync("vda", 0, Mebibyte, 1, Token);
        await machine.ResizeAsync("vda", 8 * Mebibyte, Token);

        var after = await machine.Domain.GetBlockInfoAsync("vda", Token);

        Assert.Equal((4 * Mebibyte, 8 * Mebibyte), (before.Capacity, after.Capacity));
        Assert.True(after.Allocation >= before.Allocation + Mebibyte);
        Assert.Empty(await machine.Domain.GetDiskErrorsAsync(Token));
        await Assert.ThrowsAsync<LibvirtException>(() => machine.Domain.GetBlockInfoAsync("vdz", Token));
    }

    [Fact]
    public async Task MonitorCommand_ReachesQemu()
    {
        var machine = await LabMachine.DefineAsync(fixture.Host, "monitor", new LabDisk("vda", Mebibyte));

        var status = await machine.QmpAsync("""{"execute":"query-status"}""", Token);
        var human = await machine.Domain.QemuMonitorCommandAsync("info status", human: true, Token);

        Assert.False(status.GetProperty("running").GetBoolean());
        Assert.StartsWith("VM status: paused", human, StringComparison.Ordinal);
        await Assert.ThrowsAsync<InvalidOperationException>(() => machine.QmpAsync("""{"execute":"no-such-command"}""", Token));
    }

    [Fact]
    public async Task AgentThatIsNotThere_IsTold()
    {
        var silent = await LabMachine.DefineAsync(
            fixture.Host, "agent-silent", new LabMachineOptions { AgentChannel = true }, [new LabDisk("vda", Mebibyte)], Token);
        var without = await LabMachine.DefineAsync(fixture.Host, "agent-none", new LabDisk("vda", Mebibyte));

        await silent.Domain.ResumeAsync(Token);
        await without.Domain.ResumeAsync(Token);
        await silent.Domain.SetAgentResponseTimeoutAsync(new AgentTimeout(5), Token);
        await silent.Domain.SetAgentResponseTimeoutAsync(AgentTimeout.Default, Token);
        var unresponsive = await Assert.ThrowsAsync<AgentUnresponsiveException>(
            () => silent.Domain.FreezeFileSystemsAsync(["/", "/home"], Token));
        var noChannel = await Assert.ThrowsAsync<LibvirtException>(() => without.Domain.FreezeFileSystemsAsync(cancellationToken: Token));

        Assert.Equal(LibvirtErrorCode.AgentUnresponsive, unresponsive.Code);
        Assert.Equal(LibvirtErrorCode.ArgumentUnsupported, noChannel.Code);
        await Assert.ThrowsAsync<AgentUnresponsiveException>(() => silent.Domain.ThawFileSystemsAsync(Token));
        await Assert.ThrowsAsync<AgentUnresponsiveException>(
            () => silent.Domain.AgentCommandAsync("""{"execute":"guest-ping"}""", new AgentTimeout(1), Token));
    }

    [Fact]
    public async Task SlowReaderOfEvents_GetsTheKeptOnesThenAnError()
    {
        var hub = new EventHub();
        using var events = hub.Add(null);
        for (var index = 0; index <= EventSubscription.Capacity; index++)
            hub.OnEvent(new AgentLifecycleEvent(Guid.Empty, "flood", Connected: true));

        var read = 0;
        var exception = await Assert.ThrowsAsync<InvalidOperationException>(async () =>
        {
            await foreach (var unused in events.ReadAllAsync(Token))
                read++;
        });

        Assert.Equal(EventSubscription.Capacity, read);
        Assert.Contains("behind", exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void EventsOfAnotherDomain_AreNotDelivered()
    {
        var hub = new EventHub();
        var mine = Guid.NewGuid();
        using var events = hub.Add(mine);
        hub.OnEvent(new AgentLifecycleEvent(Guid.NewGuid(), "other", Connected: true));
        hub.OnEvent(new AgentLifecycleEvent(mine, "mine", Connected: false));
        events.Dispose();
        hub.OnEvent(new AgentLifecycleEvent(mine, "late", Connected: true));

        Assert.True(events.TryRead(out var libvirtEvent));
        Assert.Equal("mine", Assert.IsType<AgentLifecycleEvent>(libvirtEvent).Name);
        Assert.False(events.TryRead(out _));
        Assert.True(hub.IsEmpty);
    }
}
