// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Doctor.Facts;

namespace Tidemark.Engine.Doctor;

/// <summary>
/// The port through which a hypervisor is looked at: nothing is changed. A call may take as long as the hypervisor lets it wait; the
/// caller does not.
/// </summary>
public interface IExaminer : IAsyncDisposable
{
    Task<HypervisorFacts> ReadHypervisorAsync(CancellationToken cancellationToken);

    /// <summary>Name and UUID of every machine; needs no answer from any of them.</summary>
    Task<IReadOnlyList<MachineName>> ListMachinesAsync(CancellationToken cancellationToken);

    Task<MachineFacts> ReadMachineAsync(string machineUuid, CancellationToken cancellationToken);

    Task<BitmapFacts> ReadBitmapsAsync(string machineUuid, CancellationToken cancellationToken);
}

/// <summary>A machine that was not looked at yet.</summary>
public sealed record MachineName(string Name, string Uuid);
