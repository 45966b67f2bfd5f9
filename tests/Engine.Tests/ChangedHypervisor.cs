// SPDX-License-Identifier: Apache-2.0
using System.Reflection;
using Tidemark.Engine.Machines;

namespace Tidemark.Engine.Tests;

/// <summary>A real hypervisor that shows its machines otherwise than they are, for what real ones won't show on demand.</summary>
public class ChangedHypervisor : DispatchProxy
{
    private IHypervisor _real = null!;
    private Func<Machine, Machine> _change = null!;

    public static IHypervisor Over(IHypervisor real, Func<Machine, Machine> change)
    {
        var hypervisor = Create<IHypervisor, ChangedHypervisor>();
        var proxy = (ChangedHypervisor)(object)hypervisor;
        (proxy._real, proxy._change) = (real, change);
        return hypervisor;
    }

    protected override object? Invoke(MethodInfo? targetMethod, object?[]? args)
    {
        var answer = targetMethod!.Invoke(_real, args);
        return targetMethod.Name == nameof(IHypervisor.FindAsync) ? ChangeAsync((Task<Machine?>)answer!) : answer;
    }

    private async Task<Machine?> ChangeAsync(Task<Machine?> found) => await found is { } machine ? _change(machine) : null;
}
