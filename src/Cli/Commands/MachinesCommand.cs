// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using Tidemark.Cli.Output;
using Tidemark.Engine.Machines;
using Tidemark.Engine.Points;

namespace Tidemark.Cli.Commands;

/// <summary><c>tidemark machines</c>: what can be protected, what cannot and why.</summary>
internal static class MachinesCommand
{
    public static Command Create()
    {
        var command = new Command("machines", "Machines, their state and disks; what can be protected, what cannot and why");
        command.SetAction(RunAsync);
        return command;
    }

    private static async Task<int> RunAsync(ParseResult result, CancellationToken cancellationToken)
    {
        await using var hypervisor = await result.ConnectHypervisorAsync(result.Settings(), cancellationToken);
        var machines = await hypervisor.ListAsync(cancellationToken);
        var documents = machines.OrderBy(machine => machine.Name, StringComparer.Ordinal).Select(Document).ToList();
        result.Output().Result(new MachinesDocument(documents), CliJson.Default.MachinesDocument, Table);
        return ExitCode.Done;
    }

    private static MachineDocument Document(Machine machine) => new(
        machine.Name,
        machine.Uuid,
        machine.Host,
        machine.State.ToString().ToLowerInvariant(),
        machine.Disks.Select(disk => new MachineDiskDocument(
            disk.Name, disk.Size, disk.Kind, disk.Format, disk.Path, disk.Untrackable is null, disk.Untrackable)).ToList(),
        machine.NotProtected.Select(disk => new NotProtectedInfo(disk.Name, disk.Reason)).ToList());

    private static string Table(MachinesDocument document)
    {
        if (document.Machines.Count == 0)
            return "The hypervisor has no machines.";
        var table = new TextTable("MACHINE", "STATE", "DISK", ">SIZE", "FORMAT", "PROTECTION");
        foreach (var machine in document.Machines)
        {
            foreach (var disk in machine.Disks)
            {
                table.Add(
                    machine.Name, machine.State, disk.Name, Sizes.Bytes(disk.Size), disk.Format,
                    disk.Tracked ? "incremental" : $"read in full each time: {disk.Reason}");
            }

            foreach (var disk in machine.NotProtected)
                table.Add(machine.Name, machine.State, disk.Name, "", "", $"none: {disk.Reason}");
            if (machine.Disks.Count + machine.NotProtected.Count == 0)
                table.Add(machine.Name, machine.State, "-", "", "", "it has no disks");
        }

        return table.ToString();
    }
}
