// SPDX-License-Identifier: Apache-2.0
using Tidemark.Lab;
using Tidemark.Libvirt.Tests;

[assembly: AssemblyFixture(typeof(HostFixture))]

namespace Tidemark.Libvirt.Tests;

/// <summary>One private libvirt host for all tests that do not harm it; machines have names of their own.</summary>
public sealed class HostFixture : IAsyncLifetime
{
    public LabHost Host { get; private set; } = null!;

    public async ValueTask InitializeAsync() => Host = await LabHost.StartAsync(TestContext.Current.CancellationToken);

    public ValueTask DisposeAsync() => Host.DisposeAsync();
}
