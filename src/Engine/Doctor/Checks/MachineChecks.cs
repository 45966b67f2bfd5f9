// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Doctor.Facts;

namespace Tidemark.Engine.Doctor.Checks;

/// <summary>A machine's agent, its state, and the job that holds it.</summary>
public static class MachineChecks
{
    /// <param name="facts">The machine.</param>
    /// <param name="leftovers">Runs of this host.</param>
    /// <param name="scratch">The scratch folder.</param>
    public static IEnumerable<Finding> Judge(MachineFacts facts, LeftoverFacts leftovers, string scratch)
    {
        var entries = leftovers.Entries.Where(entry => entry.Entry.MachineUuid == facts.Machine.Uuid).ToList();
        var isRunAlive = entries.Exists(entry => !entry.IsDead);
        return facts.Unseen.Select(sentence => Finding.Note(Name(facts), sentence))
            .Concat(JudgeAgent(facts, isRunAlive))
            .Concat(JudgePause(facts, isRunAlive))
            .Concat(JudgeJob(facts, isRunAlive, isKnown: entries.Count > 0, scratch));
    }

    private static string Name(MachineFacts facts) => $"machine '{facts.Machine.Name}'";

    private static IEnumerable<Finding> JudgeAgent(MachineFacts facts, bool isRunAlive)
    {
        const string Worth = "backups are as after a power cut";
        var name = facts.Machine.Name;
        yield return facts.Agent switch
        {
            AgentState.Answers => Finding.Ok(Name(facts), "The guest's agent answers."),
            AgentState.NotConfigured => Finding.Note(
                Name(facts), $"It has no channel for a guest agent; {Worth}.",
                $"virsh attach-device {name} --persistent agent.xml, with <channel type='unix'><target type='virtio' "
                + "name='org.qemu.guest_agent.0'/></channel> in it; then install qemu-guest-agent in the guest"),
            AgentState.NotConnected => Finding.Warning(
                Name(facts), $"Its guest agent is not connected; {Worth}.",
                "in the guest: systemctl enable --now qemu-guest-agent"),
            AgentState.Silent => Finding.Warning(
                Name(facts), $"Its guest agent is connected and does not answer; {Worth}.",
                "in the guest: systemctl restart qemu-guest-agent"),
            _ => Finding.Ok(Name(facts), $"It is {facts.Machine.State.ToString().ToLowerInvariant()}; no agent was asked."),
        };
        if (facts.IsFrozen && !isRunAlive)
            yield return Finding.Problem(
                Name(facts), "The guest's file systems are frozen, and no run holds them.", $"virsh domfsthaw {name}");
    }

    private static IEnumerable<Finding> JudgePause(MachineFacts facts, bool isRunAlive)
    {
        if (facts.IsIoErrorPause && !isRunAlive)
        {
            yield return Finding.Problem(
                Name(facts), "QEMU paused it after an I/O error: a disk, or a backup's scratch file, failed or is full.",
                $"virsh domblkerror {facts.Machine.Name}; make room, then virsh resume {facts.Machine.Name}");
        }
    }

    private static IEnumerable<Finding> JudgeJob(MachineFacts facts, bool isRunAlive, bool isKnown, string scratch)
    {
        var name = facts.Machine.Name;
        if (facts.Job is not { } job)
        {
            if (facts.Machine.JobActive)
                yield return Finding.Warning(
                    Name(facts), "A block copy or commit is active on it; no backup can begin.", $"virsh blockjob {name} DISK");
            yield break;
        }

        var since = job.Elapsed is { } elapsed ? $", for {(long)elapsed.TotalSeconds} s" : "";
        var isOurs = job.Socket?.StartsWith(scratch + "/", StringComparison.Ordinal) == true;
        if (isOurs && isRunAlive)
            yield return Finding.Note(Name(facts), $"A backup is under way{since}.");
        else if (isOurs)
            yield return Finding.Problem(
                Name(facts), $"A backup job of a dead run is active{since}; it holds scratch space and every other job.",
                isKnown ? $"tidemark backup {name}" : $"virsh domjobabort {name}");
        else
            yield return Finding.Warning(
                Name(facts), $"A job of others is active ({job.Operation}{since}); no backup can begin until it ends.",
                $"virsh domjobinfo {name}");
    }
}
